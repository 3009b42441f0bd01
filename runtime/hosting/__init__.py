"""Sessions on Ray: who owns them, where their phases run, and what becomes of both when a process or a node is lost.

cluster       Ray itself: started, attached to, left
hosts         the hosts of one driver; sessions of a dead one go to the others
member        one of them, as its driver sees it
room          how many hosts and pools fit
host          the actor that owns sessions and alone writes their events
live          the sessions that a host has at this moment
orders        what crosses between a driver and its hosts
placement     where each phase of a session runs
pools         phase actors, and calls that outlive their restarts
lanes         what many sessions ask of one phase actor travels together
executors     who carries an effect out, and whether it still lives
recall        the episodic memory as the loop's port
memory_actor  the same for several hosts"""
