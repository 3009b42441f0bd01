"""A projection whose rows show every event that was missed, repeated or taken out of order, and a process that keeps
it: `python -m tests.projections LOG`, until it is killed."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing

from telemetry.events import Recorded
from telemetry.log import EventLog, open_log
from telemetry.log.projection.place import Cell, Rows
from telemetry.log.projection.project import Projected
from telemetry.log.sqlite.place import SqliteRows

Table = list[tuple[Cell, ...]]


class Chains:
    """A digest of each stream's events and of all of them, each hashed onto those before it."""

    name = "chains"
    tables: tuple[str, ...] = (
        "CREATE TABLE chain (stream TEXT PRIMARY KEY, events BIGINT NOT NULL, digest TEXT NOT NULL)",
    )

    def __init__(self, *, version: int = 1, types: tuple[str, ...] = ()) -> None:
        self.version = version
        self.types = types
        self.batches: list[int] = []

    def apply(self, rows: Rows, events: Sequence[Recorded]) -> None:
        self.batches.append(len(events))
        for recorded in events:
            for stream in ("", recorded.stream):
                found = rows.execute("SELECT events, digest FROM chain WHERE stream = ?", (stream,)) or [(0, "")]
                ((count, digest),) = found
                assert isinstance(count, int)
                onto = hashlib.sha256(f"{digest!s} {recorded.hash.hex()}".encode()).hexdigest()
                rows.execute(
                    "INSERT INTO chain VALUES (?, ?, ?) ON CONFLICT (stream) DO UPDATE "
                    "SET events = excluded.events, digest = excluded.digest",
                    (stream, count + 1, onto),
                )


def chains(projected: Projected) -> Table:
    """The whole table, as it stands."""
    with projected.rows() as (_, rows):
        return rows.execute("SELECT * FROM chain ORDER BY stream")


def undisturbed(log: EventLog) -> Table:
    """The table as it must be, made from all events at once and nowhere kept."""
    with closing(sqlite3.connect(":memory:")) as connection:
        rows = SqliteRows(connection)
        for statement in Chains.tables:
            rows.execute(statement)
        Chains().apply(rows, list(log.read_all()))
        return rows.execute("SELECT * FROM chain ORDER BY stream")


def main(url: str) -> None:
    with closing(open_log(url, mode="read")) as log, Projected(log, Chains()) as projected:
        news = log.subscribe(after=projected.catch_up())
        while True:
            news.next()
            projected.catch_up()


if __name__ == "__main__":
    main(sys.argv[1])
