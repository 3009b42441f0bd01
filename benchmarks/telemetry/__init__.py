"""Telemetry as a projection, in figures (`make bench-telemetry`).

__main__    the parts
record      out and back in: the same heads, and how large a record is
queries     two questions over five million events, beside the SQLite log that they are of"""
