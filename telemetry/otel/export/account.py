"""What a follower was handed of the log and what it handed on, position by position.

Knows positions; knows no collector. Invariant: whatever a cursor passes was handed on, was set aside, does not stand on
the log, or is counted as lost: that nothing was lost is looked up, not assumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

LOOKED_AGAIN: Final = 10
"""How often a stretch of positions without an event is looked up again: once for each further move of the cursor. On
PostgreSQL an event that becomes visible after a later one would be found by it; the log's lock means there is none."""
STRETCHES_KEPT: Final = 1_000
"""Of those that wait for it; a log that was pruned has few, and long ones."""


class Accounted(NamedTuple):
    """What an account came to."""

    handed_on: int = 0
    """Events whose taking was acknowledged; one that was handed on twice counts once while its cursor stands."""
    set_aside: int = 0
    """Events that no collector takes, kept where their owner keeps them."""
    lost: int = 0
    """Events that the cursor passed and nobody was handed."""

    def with_(self, other: Accounted) -> Accounted:
        """Of both."""
        return Accounted(*(one + another for one, another in zip(self, other, strict=True)))


class Positions(Protocol):
    """What of a log is asked here."""

    def read_all(self, *, after: int, to: int) -> Iterator[object]:
        """What stands on positions above `after` up to `to`."""


class _Empty(NamedTuple):
    first: int
    last: int
    looks: int


class Account:
    """For one follower, in the order of its cursor, and for one thread at a time."""

    def __init__(self, log: Positions, *, begins_at: int) -> None:
        """`begins_at`: the position of its cursor; what lies before is another account's."""
        self._log = log
        self._passed = begins_at
        self._done: set[int] = set()
        self._empty: deque[_Empty] = deque(maxlen=STRETCHES_KEPT)
        self.handed_on = self.aside = self.lost = 0
        """As `Accounted` says."""

    @property
    def so_far(self) -> Accounted:
        """From any thread."""
        return Accounted(self.handed_on, self.aside, self.lost)

    def handed(self, positions: Iterable[int]) -> None:
        """Somebody acknowledged that they have the events at `positions`."""
        self.handed_on += self._mark(positions)

    def set_aside(self, positions: Iterable[int]) -> None:
        """The events at `positions` are refused for good and are kept elsewhere."""
        self.aside += self._mark(positions)

    def moved(self, to: int) -> int:
        """The cursor stands at `to` now. Returns how many events were lost by that: they stand on the log, and neither
        was their taking acknowledged nor were they set aside."""
        lost, empty = 0, []
        for first, last, looks in (*self._empty, *self._left_out(to)):
            found = sum(1 for _ in self._log.read_all(after=first - 1, to=last))
            lost += found
            if not found and looks < LOOKED_AGAIN:
                empty.append(_Empty(first, last, looks + 1))
        self._empty.clear()
        self._empty.extend(empty)
        self._done = {position for position in self._done if position > to}
        self._passed = max(self._passed, to)
        self.lost += lost
        return lost

    def _mark(self, positions: Iterable[int]) -> int:
        before = len(self._done)
        self._done.update(position for position in positions if position > self._passed)
        return len(self._done) - before

    def _left_out(self, to: int) -> Iterator[_Empty]:
        """Stretches of positions up to `to` that nothing was said of."""
        expected = self._passed + 1
        for position in sorted(position for position in self._done if position <= to):
            if position > expected:
                yield _Empty(expected, position - 1, 0)
            expected = position + 1
        if expected <= to:
            yield _Empty(expected, to, 0)
