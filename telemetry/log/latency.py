"""How long appends take, as the process sees it that makes them.

Knows durations; knows no event. Invariant: what is counted only grows, so that who reads it may read at any time."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

BOUNDS_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the buckets, which they include: from a group commit without fsync to a disk that is full."""


@dataclass(slots=True)
class Latencies:
    """From an append's submission until it is on disk. Counted by one thread, read by any."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    """By BOUNDS_S, and above the last."""
    total_s: float = 0.0
    least_s: float = 0.0
    most_s: float = 0.0

    def took(self, seconds: float) -> None:
        if seconds > self.most_s:
            self.most_s = seconds
        if seconds < self.least_s or not self.total_s:
            self.least_s = seconds
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def with_(self, other: Latencies) -> Latencies:
        """Of both."""
        if not other.total_s or not self.total_s:
            return self if self.total_s else other
        return Latencies(
            [one + another for one, another in zip(self.counts, other.counts, strict=True)],
            self.total_s + other.total_s,
            min(self.least_s, other.least_s),
            max(self.most_s, other.most_s),
        )
