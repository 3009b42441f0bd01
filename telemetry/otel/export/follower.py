"""What follows a log beside the sessions. Knows nothing of what is done with the events.

Invariant: a follower that is ended at any moment goes on later where it was, and misses nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from telemetry.log.store import EventLog


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind the log's end: events that wait, and the age of the first of them. `why`, when it is not only that
    there are many."""

    events: int
    seconds: float
    why: str = ""

    def __str__(self) -> str:
        if not self.events:
            return "nothing waits"
        plural = "events wait" if self.events > 1 else "event waits"
        return f"{self.events:,} {plural}, the first for {self.seconds:.0f} s"


class Follower(Protocol):
    name: str

    def step(self, *, wait_s: float) -> bool:
        """One piece of work, or waits up to `wait_s` for one. Whether there may be more at once. What it raises is for
        people; it may be made anew then."""

    def stop(self) -> None:
        """From any thread, and twice: what waits in `step` returns soon, and nothing is begun any more."""

    def lag(self) -> Lag:
        """From any thread."""


def lag_of(log: EventLog, position: int, *, why: str = "") -> Lag:
    """Of a follower that is done with everything up to `position`."""
    waiting = log.position() - position
    if waiting <= 0:
        return Lag(0, 0.0, why)
    first = next(log.read_all(after=position, to=position + 1), None)
    seconds = 0.0 if first is None else max(0.0, (time.time_ns() - first.at) / 1e9)
    return Lag(waiting, seconds, why)
