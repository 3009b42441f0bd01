"""Errors of memory.

    MemoryFault             (MemoryError is Python's own)
    ├── ShapeError          a vector that does not fit its embedder; also a ValueError
    ├── IndexHeld           another live process has the index folder open
    ├── IndexDamaged        a shard cannot be opened or read; it can be rebuilt from the log
    ├── ProjectionFailed    the thread that follows the log has stopped; its cause is attached
    └── RecallLate          the index did not reach the asked position in time; also a TimeoutError

Every message says what failed, what is intact, and what to do next."""

from __future__ import annotations


class MemoryFault(Exception):
    """Root of this package's errors."""


class ShapeError(MemoryFault, ValueError):
    pass


class IndexHeld(MemoryFault):
    pass


class IndexDamaged(MemoryFault):
    pass


class ProjectionFailed(MemoryFault):
    pass


class RecallLate(MemoryFault, TimeoutError):
    pass
