"""Where the rows of a projection lie, whatever keeps them.

Knows transactions; knows no log. Invariant: a transaction is kept whole or not at all, and a reader sees one state."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from telemetry.errors import LogDamaged, LogError

Cell: TypeAlias = str | int | float | bytes | None


class Damaged(LogDamaged):
    """What lies there cannot be read. It can be thrown away."""


class Lost(LogError):
    """The transaction ended with its connection. Nothing of it was kept, so it can be made again."""


class Rows(Protocol):
    """The tables of one projection inside a transaction."""

    def execute(self, statement: str, values: Sequence[Cell] = ()) -> list[tuple[Cell, ...]]:
        """The rows that `statement` gives, if any. `?` stands for a value."""


class Place(Protocol):
    """Where the rows of one projection lie. For one thread at a time, and any number of processes."""

    def write(self) -> AbstractContextManager[Rows]:
        """A transaction beside which no other writes there, kept when it is left without an error.

        Raises `LogUnwritable` where nothing can be written, `Damaged` when what lies there cannot be read, `Lost`."""

    def read(self) -> AbstractContextManager[Rows]:
        """A transaction that sees one state of the rows."""

    def tables(self, rows: Rows) -> list[str]:
        """Names of the tables that lie there."""

    def discard(self) -> None:
        """Throws everything away, readable or not."""

    def close(self) -> None: ...
