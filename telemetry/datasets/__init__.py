"""From a log to training files: a recipe run over the log as it stood at a position, split, written, and counted.

Knows rows, splits and files; knows nothing of how events became rows (`telemetry.query`) and trains nothing. Invariant:
the same recipe over the same log at the same position gives the same rows in the same order, and so the same digest."""
