"""Crash-point certificates: a scenario is killed at its commit boundaries and taken up again, and its log is judged.

values    what is ordered, what came of one kill, and the certificate of all of them
certify   starts the worker with an environment of its own and listens to it
worker    the process that has everything loaded: undisturbed first, then kill after kill
lives     one life of the session, forked from the worker; it ends itself at the boundary it was given
hosts     the same through a real Ray: the session host ends itself, and Ray starts it again
judge     what a log and a ledger say about losses and repeats"""
