"""The embedded store: one SQLite file in WAL mode, `synchronous=FULL`, with one writer at a time.

database   what is opened and closed together
connect    pragmas, what is a log and what is not, connections to read with
writer     how a group is committed
lock       one writer a log, by an OS lock that dies with its owner
blobs      large contents in a folder beside the file
snapshots  where sessions stood, in a folder beside the file
place      where the rows of a projection lie
rest       reads a file that nobody writes without changing a byte of it"""
