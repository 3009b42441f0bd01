"""Verifying a SQLite log: reads past what is broken, so that one bad page does not hide the rest.

Knows how SQLite fails; what an intact event is, `verify` knows. Invariant: never raises for a damaged file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from telemetry.errors import InvalidEvent
from telemetry.events.envelope import GENESIS, chain_hash
from telemetry.log.blobs import Blobs
from telemetry.log.forks import origin_of, place_of
from telemetry.log.lineage import Origin, lineage
from telemetry.log.rows import POSITION, SELECT, VERSION, Row, blob_digest, recorded
from telemetry.log.seal import Seal
from telemetry.log.sqlite_writer import last_position
from telemetry.log.verify import Checker, VerifyReport

PAGE_ROWS = 512
LOWEST, HIGHEST = -(2**63), 2**63 - 1
"""What a rowid can be: positions from outside 1…N must be seen too."""


def verify_sqlite(
    connection: sqlite3.Connection, blobs: Blobs, *, seal: Seal | None, streams: Collection[str] | None
) -> VerifyReport:
    """`EventLog.verify` over one connection."""
    if seal is not None:
        seal.check()
        if streams is not None:
            seal = Seal.of((head for head in seal.heads if head[0] in streams), as_of=seal.as_of)

    def blob_fault(payload: bytes) -> str | None:
        try:
            return blobs.fault(blob_digest(payload))
        except InvalidEvent as error:
            return str(error)

    checker = Checker(
        locate=lambda stream, version: _locate(connection, stream, version),
        origin=lambda stream: _origin(connection, stream),
        blob_fault=blob_fault,
        genesis=GENESIS,
        chain=chain_hash,
        only=streams,
        seal=seal,
    )
    if streams is None:
        _Scan(connection, checker, "NOT INDEXED WHERE position >= ? AND position <= ? ORDER BY position").run(POSITION)
        if checker.damaged:
            _see_heads(connection, checker)
        else:
            _check_file(connection, checker)
    for stream, to in _with_ancestors(connection, streams or ()).items():
        shared = "" if to == HIGHEST else f"AND version <= {to} "
        order = f"WHERE version >= ? AND position <= ? AND stream = ? {shared}ORDER BY version"
        _Scan(connection, checker, order, stream).run(VERSION)
    return checker.report()


class _Scan:
    """Every readable row in one order, and a word for each place where there is none.

    Looks from a key on, not beyond one: to look beyond the last row of a page, SQLite reads that page."""

    def __init__(self, connection: sqlite3.Connection, checker: Checker, order: str, *values: str) -> None:
        self._connection = connection
        self._checker = checker
        self._order = order
        self._values = (_last(connection), *values)

    def run(self, key: int) -> None:
        """`key` is the column that leads the order."""
        start, limit = LOWEST, PAGE_ROWS
        while True:
            rows, error = self._page(start, limit)
            for row in rows:
                self._checker.see(recorded(row))
            if rows:
                start = int(rows[-1][key]) + 1
            if error is None:
                if not rows:
                    return
            elif limit > 1:
                limit = 1  # sqlite3 reads a row ahead and drops the last good one: find the place row by row
            else:
                beyond = self._skip(start, error)
                if beyond is None:
                    return
                start, limit = beyond, PAGE_ROWS

    def _page(self, start: int, limit: int) -> tuple[list[Row], str | None]:
        """Up to `limit` rows, and what SQLite said where it stopped before."""
        rows: list[Row] = []
        try:
            rows.extend(self._connection.execute(f"{SELECT} {self._order} LIMIT {limit}", (start, *self._values)))
        except sqlite3.DatabaseError as error:
            return rows, str(error)
        return rows, None

    def _skip(self, start: int, error: str) -> int | None:
        """Names what cannot be read from `start` on; the nearest key from which something can, if any."""
        bad = 1 if start == LOWEST else start
        self._checker.see_unreadable(bad, self._name(start), error)
        step = 1
        while self._page(min(bad + step, HIGHEST), 1)[1] is not None:
            bad, step = bad + step, step * 2
            if bad >= HIGHEST:
                return None
        good = min(bad + step, HIGHEST)
        while good - bad > 1:
            middle = (bad + good) // 2
            if self._page(middle, 1)[1] is None:
                good = middle
            else:
                bad = middle
        self._checker.skip_to(good - 1)
        return good

    def _name(self, start: int) -> tuple[str, int] | None:
        """Stream and version of the row that cannot be read, where at least these can."""
        try:
            row = self._connection.execute(
                f"SELECT stream, version FROM events {self._order} LIMIT 1", (start, *self._values)
            ).fetchone()
        except sqlite3.DatabaseError:
            return None
        return row and (str(row[0]), int(row[1]))


def _last(connection: sqlite3.Connection) -> int:
    try:
        return last_position(connection)
    except sqlite3.DatabaseError:
        return HIGHEST


def _locate(connection: sqlite3.Connection, stream: str, version: int) -> tuple[int, bytes] | None:
    try:
        return place_of(connection, stream, version)
    except sqlite3.DatabaseError:
        return None


def _origin(connection: sqlite3.Connection, stream: str) -> Origin | None:
    try:
        return origin_of(connection, stream)
    except (sqlite3.DatabaseError, InvalidEvent):
        return None


def _with_ancestors(connection: sqlite3.Connection, streams: Collection[str]) -> dict[str, int]:
    """Up to which version each of `streams` and of their ancestors is to be seen, parents before their forks."""
    ends: dict[str, int] = {}
    for asked in sorted(streams):
        for stream, to in reversed(lineage(lambda name: _origin(connection, name), asked, to=HIGHEST)):
            ends[stream] = max(to, ends.get(stream, 0))
    return ends


def _see_heads(connection: sqlite3.Connection, checker: Checker) -> None:
    """What the index still knows of streams whose last events could not be read."""
    stream = ""
    try:
        while row := connection.execute(
            "SELECT stream, version FROM events WHERE stream > ? ORDER BY stream, version DESC LIMIT 1", (stream,)
        ).fetchone():
            stream = row[0]
            checker.see_head(stream, row[1])
    except sqlite3.DatabaseError:
        pass  # the index is broken as well; the page was reported


def _check_file(connection: sqlite3.Connection, checker: Checker) -> None:
    """Broken pages that no row lies on: indices, free pages."""
    try:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        checker.see_unreadable(0, None, found)
