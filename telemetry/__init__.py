"""The record: what an event is, how events are kept, and how they are read back.

Knows nothing of loops, organs, Ray or torch. Invariant: what was acknowledged can be read back byte for byte."""
