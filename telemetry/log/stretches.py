"""Which events, said in few words: stretches of successive versions.

Knows streams and versions. Invariant: what is given in the order of versions comes out as the fewest stretches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Stretch(NamedTuple):
    """Versions `first` to `last` of a stream."""

    stream: str
    first: int
    last: int

    @property
    def events(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.stream}@{self.first}" if self.first == self.last else f"{self.stream}@{self.first}–{self.last}"


@dataclass(slots=True)
class Stretches:
    """Collects events, those of one stream in the order of their versions, those of several by turns."""

    _of: dict[str, list[list[int]]] = field(default_factory=dict)
    events: int = 0

    def add(self, stream: str, first: int, last: int | None = None) -> None:
        """The event of version `first`, or those up to `last`."""
        last = first if last is None else last
        found = self._of.setdefault(stream, [])
        if found and found[-1][1] == first - 1:
            found[-1][1] = last
        else:
            found.append([first, last])
        self.events += last - first + 1

    def __iter__(self) -> Iterator[Stretch]:
        """Streams in the order in which they first came."""
        for stream, found in self._of.items():
            for first, last in found:
                yield Stretch(stream, first, last)
