"""The people of live sessions: what they say, what they are asked, what they see.

desk       the words of that traffic, and what a host does for them
clerk      who does it, in a host
talk       one session's inbox and its watchers
attend     when a session waits for people, and their answers
approvals  questions for leave, on the log and from outside
letters    the protocol of the socket between a host and other processes
serving    the host's end of it
mailbox    the other end
visit      a host of one's own, for as long as a chat lasts
chat       what a chat does with lines and notices"""
