"""Projections: rows that follow from the log, and the position of it that they are true of.

Knows batches and cursors; a `Place` knows where rows lie, a `Projection` what they mean. Invariant: rows and cursor
move in one transaction, so whenever a process is killed the rows are those of exactly the events up to the cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from telemetry.errors import LogUnwritable
from telemetry.log.projection.place import Damaged, Lost, Place, Rows
from telemetry.log.sqlite.place import SqlitePlace
from telemetry.log.store import EventLog, Subscription
from telemetry.log.urls import is_postgres

if TYPE_CHECKING:
    from telemetry.events.envelope import Recorded

CURSOR = """CREATE TABLE cursor (
    log TEXT NOT NULL, projection TEXT NOT NULL, version BIGINT NOT NULL, position BIGINT NOT NULL, hash TEXT NOT NULL
)"""
"""The one row that says which log the rows are of, by which projection they were made, and up to where: the position
and the hash of the event there, which another history of the same log does not have."""


class Projection(Protocol):
    """What rows follow from which events. Equal events give equal rows, however they are cut into batches."""

    name: str
    version: int
    """Raised when other rows follow from the same events: rows of another version are thrown away."""
    tables: tuple[str, ...]
    """Statements that make its tables, in SQL that every store takes; none is named `cursor`."""
    types: tuple[str, ...]
    """The types of event it follows; all when empty."""

    def apply(self, rows: Rows, events: Sequence[Recorded]) -> None:
        """Changes the rows by the next events, in the order of their positions."""


class Projected:
    """The rows of `projection` over `log`. They move on when `catch_up` is called, in any of the processes that have
    them open. For one thread at a time.

    Rows that cannot be trusted are thrown away and made again from the first event: those of another log, of another
    version of the projection, of a position that the log does not have or has another event at, and damaged ones. Where
    nothing can be written, they are made in memory and kept until `close`."""

    def __init__(self, log: EventLog, projection: Projection) -> None:
        self._log = log
        self._projection = projection
        self._place = place_of(log, projection.name)
        self._in_memory = False
        self._subscription: Subscription | None = None

    def catch_up(self) -> int:
        """Applies all that is on the log by now, a batch a transaction. Returns the position that the rows are of."""
        head = self._log.position()
        while (position := self._stepped(head)) < head:
            pass
        return position

    def advance(self) -> bool:
        """Applies the next batch of what is on the log by now, if any. Whether more of that is left."""
        head = self._log.position()
        return self._stepped(head) < head

    def _stepped(self, head: int) -> int:
        """The position after one step, wherever the rows can be."""
        while True:
            try:
                return self._step(head)
            except Damaged:
                self._place.discard()
            except Lost:
                pass
            except LogUnwritable:
                if self._in_memory:
                    raise
                self._place.close()
                self._place, self._in_memory = SqlitePlace(None), True

    @contextmanager
    def rows(self) -> Iterator[tuple[int, Rows]]:
        """The rows to be read, and the position that they are of. Caught up once before."""
        with self._place.read() as rows:
            ((position,),) = rows.execute("SELECT position FROM cursor")
            assert isinstance(position, int)
            yield position, rows

    def close(self) -> None:
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _step(self, head: int) -> int:
        """Moves rows and cursor by one batch, unless they are at `head` already."""
        with self._place.write() as rows:
            position = self._begin(rows)
            if position >= head:
                return position
            if self._subscription is None or self._subscription.position != position:  # another process moved them on
                self._subscription = self._log.subscribe(after=position, types=self._projection.types)
            batch = self._subscription.next(timeout_s=0)
            self._projection.apply(rows, batch.events)
            rows.execute("UPDATE cursor SET position = ?, hash = ?", (batch.position, self._hash_at(batch.position)))
            return batch.position

    def _begin(self, rows: Rows) -> int:
        """The position to go on from: 0, with new tables, where those there cannot be trusted."""
        made_by = (self._log.id, self._projection.name, self._projection.version)
        found = self._place.tables(rows)
        if "cursor" in found:
            *named, position, hash_ = rows.execute("SELECT * FROM cursor")[0]
            assert isinstance(position, int)
            if tuple(named) == made_by and position <= self._log.position() and hash_ == self._hash_at(position):
                return position
        for name in found:
            rows.execute(f'DROP TABLE "{name}"')
        for statement in (CURSOR, *self._projection.tables):
            rows.execute(statement)
        rows.execute("INSERT INTO cursor VALUES (?, ?, ?, 0, '')", made_by)
        return 0

    def _hash_at(self, position: int) -> str:
        """Hash of the event at `position`, in hex; empty where there is none."""
        return next((event.hash.hex() for event in self._log.read_all(after=position - 1, to=position)), "")


def place_of(log: EventLog, name: str) -> Place:
    """Where the rows of the projection `name` of that log lie."""
    if is_postgres(log.url):
        from telemetry.log.postgres.place import PostgresPlace

        return PostgresPlace(log.url, f"aether_{log.id.replace('-', '')}_{name}")
    return SqlitePlace(Path(f"{log.url}.projections") / f"{name}.db")
