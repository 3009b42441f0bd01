"""Counting a long history in bounded memory: the most frequent names, and figures by halves.

Knows numbers and names; knows no event. Invariant: the same history gives the same figures, to the digit."""

from __future__ import annotations

from collections import Counter
from typing import Final

from pydantic import JsonValue

DIGITS: Final = 6
"""Figures are rounded to so many, far below what any of them is measured to."""

MOST: Final = 32
"""Names that are shown; the rest is summed."""

KEPT: Final = 1024
"""Names that are told apart while counting. A model makes names up as it likes, so they have no bound of their own."""

NAME_CHARACTERS: Final = 80
OTHER: Final = "other"

PIECES: Final = 128
"""Pieces a history is kept in: halves are exact up to so many cycles, and to a 64th of them beyond."""


def rounded(value: float) -> float:
    return round(value, DIGITS)


class Table:
    """Counts in named columns for each name."""

    def __init__(self, *ranked_by: str) -> None:
        """Names are ranked by the sum of these columns."""
        self._ranked_by = ranked_by
        self._rows: dict[str, Counter[str]] = {}

    def add(self, name: str, column: str, amount: int = 1) -> None:
        short = name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"
        kept = short if short in self._rows or len(self._rows) < KEPT else OTHER
        self._rows.setdefault(kept, Counter())[column] += amount

    def total(self, column: str) -> int:
        return sum(row[column] for row in self._rows.values())

    def most(self) -> list[tuple[str, Counter[str]]]:
        """The rows of the MOST most frequent names in the order of their names, then the sum of all others."""
        named = {name: row for name, row in self._rows.items() if name != OTHER}
        ranked = sorted(named, key=lambda name: (-sum(named[name][column] for column in self._ranked_by), name))
        rest = Counter(self._rows.get(OTHER, {}))
        for name in ranked[MOST:]:
            rest.update(named[name])
        return [*((name, named[name]) for name in sorted(ranked[:MOST])), *([(OTHER, rest)] if rest else [])]


class Series:
    """The mean of a figure over each half of a session, by the cycle that it was measured in."""

    def __init__(self) -> None:
        self._sums: list[tuple[float, int]] = []
        self._width = 1
        """Cycles a piece."""

    def add(self, cycle: int, value: float) -> None:
        """`cycle` counts from 1."""
        while (piece := (cycle - 1) // self._width) >= PIECES:
            padded = [*self._sums, (0.0, 0)] if len(self._sums) % 2 else self._sums
            self._sums = [(a + c, b + d) for (a, b), (c, d) in zip(padded[::2], padded[1::2], strict=True)]
            self._width *= 2
        self._sums += [(0.0, 0)] * (piece + 1 - len(self._sums))
        total, count = self._sums[piece]
        self._sums[piece] = (total + value, count + 1)

    @property
    def total(self) -> float:
        return sum(total for total, _ in self._sums)

    @property
    def count(self) -> int:
        return sum(count for _, count in self._sums)

    def halves(self, cycles: int) -> tuple[float | None, float | None]:
        """The means over the first and the second half of `cycles`, the middle one in the first; None where nothing
        was measured."""
        middle = next((i for i in range(len(self._sums)) if 2 * i * self._width >= cycles), len(self._sums))
        return _mean(self._sums[:middle]), _mean(self._sums[middle:])

    def trend(self, cycles: int) -> dict[str, JsonValue]:
        """Both halves and by how much the second is above the first; None where a half has nothing."""
        first, second = self.halves(cycles)
        change = None if first is None or second is None else rounded(second - first)
        return {
            "first_half": None if first is None else rounded(first),
            "second_half": None if second is None else rounded(second),
            "change": change,
        }


def _mean(sums: list[tuple[float, int]]) -> float | None:
    count = sum(count for _, count in sums)
    return sum(total for total, _ in sums) / count if count else None
