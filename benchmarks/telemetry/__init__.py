"""Telemetry as a projection, in figures (`make bench-telemetry`).

__main__    the parts
bursts      what is lost of a burst, beside the SDK's own processor, and of one whose collector is killed meanwhile
bare        following a log beside sending ready-made spans
beside      what exporting takes from the sessions it stands beside
record      out and back in: the same heads, and how large a record is
queries     two questions over five million events, beside the SQLite log that they are of
datasets    rows a second from a log to training files, and the same digest again
filled      logs full of sessions that ran
lives       the same in a moment: one recorded session under many names
sink        a collector that keeps nothing"""
