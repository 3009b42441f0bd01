"""Verifying a log in tables: reads past what is broken, so that one bad page does not hide the rest.

Knows how to go on where rows cannot be read; what an intact event is, `verify` knows.
Invariant: never raises for a damaged store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from telemetry.errors import EventError, InvalidEvent
from telemetry.events.envelope import GENESIS, Recorded, chain_hash
from telemetry.log.forks import origin_of, place_of
from telemetry.log.lineage import Origin, lineage
from telemetry.log.retention.removed import freed_by, removed_of
from telemetry.log.rows import KINDS, LAST_POSITION, POSITION, SELECT, STREAM, VERSION, Row, blob_digest, recorded
from telemetry.log.seal import Seal
from telemetry.log.store import Each
from telemetry.log.verify import SYSTEM, Checker, VerifyReport

PAGE_ROWS = 512
TRIES = 5
"""Sessions are removed now and then. Where that goes on for as long, what was seen last is told."""
LOWEST, HIGHEST = -(2**63), 2**63 - 1
"""What a position can be: those from outside 1…N must be seen too."""


class Disk(Protocol):
    """What a store gives of tables that may be broken."""

    in_order_of_position: str
    """How SQL is told to read the table itself, not by an index, where that must be said."""

    def readable(self, query: str, values: Sequence[str | int]) -> tuple[list[Row], str | None]:
        """Rows up to the first that cannot be read, and what the store says of that one. A store may give no rows
        with an error, but never an error for readable rows alone."""

    def fault(self) -> str | None:
        """What is broken beside rows."""


def verify_rows(
    disk: Disk,
    blob_fault: Callable[[str], str | None],
    *,
    log_id: str,
    seal: Seal | None,
    streams: Collection[str] | None,
    each: Each | None = None,
) -> VerifyReport:
    """`EventLog.verify`. `blob_fault` says what is wrong with the content of a digest. What somebody removes or puts
    back meanwhile looks like a fault, so it is looked again then; not where `each` has heard of the events already."""
    tries = TRIES if each is None else 1
    while True:
        before, tries = _facts(disk), tries - 1
        report = _verified(disk, blob_fault, log_id=log_id, seal=seal, streams=streams, each=each)
        if report.ok or not tries or before == _facts(disk):
            return report


def _facts(disk: Disk) -> list[Row]:
    """How many facts there are about the log itself, as far as that can be read."""
    return disk.readable("SELECT max(version) FROM events WHERE stream = ?", (SYSTEM,))[0]


def _verified(
    disk: Disk,
    blob_fault: Callable[[str], str | None],
    *,
    log_id: str,
    seal: Seal | None,
    streams: Collection[str] | None,
    each: Each | None,
) -> VerifyReport:
    if seal is not None:
        seal.check()
        if streams is not None:
            seal = Seal.of((head for head in seal.heads if head[0] in streams), as_of=seal.as_of)

    def fault_of(payload: bytes) -> str | None:
        try:
            return blob_fault(blob_digest(payload))
        except InvalidEvent as error:
            return str(error)

    def rows(query: str, values: Sequence[str | int]) -> list[Row]:
        return disk.readable(query, values)[0]

    def origin(stream: str) -> Origin | None:
        try:
            return origin_of(rows, stream)
        except InvalidEvent:
            return None

    def removed(stream: str) -> tuple[int, bytes] | None:
        try:
            found = removed_of(rows, stream)
        except EventError:
            return None
        return found and (found.version, found.hash)

    def freed(event: Recorded) -> int:
        try:
            return freed_by(event, log_id)
        except EventError:
            return 0  # the gaps that it speaks of are told

    checker = Checker(
        removed=removed,
        freed=freed,
        locate=lambda stream, version: place_of(rows, stream, version),
        origin=origin,
        blob_fault=fault_of,
        genesis=GENESIS,
        chain=chain_hash,
        only=streams,
        seal=seal,
    )
    if streams is None:
        table = f"{disk.in_order_of_position} WHERE position >= ? AND position <= ? ORDER BY position"
        _Scan(disk, checker, each, POSITION, table).run()
        if checker.damaged:
            _see_heads(disk, checker)
        elif (found := disk.fault()) is not None:
            checker.see_unreadable(0, None, found)
    for stream, to in _with_ancestors(origin, streams or ()).items():
        shared = "" if to == HIGHEST else f"AND version <= {to} "
        order = f"WHERE version >= ? AND position <= ? AND stream = ? {shared}ORDER BY version"
        _Scan(disk, checker, each, VERSION, order, stream).run()
    return checker.report()


class _Scan:
    """Every readable row in one order, and a word for each place where there is none.

    `key` is the column that leads the order. Looks from a key on, not beyond one: to look beyond the last row of a
    page, SQLite reads that page."""

    def __init__(self, disk: Disk, checker: Checker, each: Each | None, key: int, order: str, *values: str) -> None:
        self._disk = disk
        self._checker = checker
        self._each = each
        self._key = key
        self._order = order
        last, _ = disk.readable(LAST_POSITION, ())
        self._values: tuple[str | int, ...] = (int(last[0][0]) if last else HIGHEST, *values)

    def run(self) -> None:
        start, limit = LOWEST, PAGE_ROWS
        while True:
            rows, error = self._page(start, limit)
            for row in rows:
                self._see(row)
            if rows:
                start = int(rows[-1][self._key]) + 1
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

    def _see(self, row: Row) -> None:
        if tuple(map(type, row)) != KINDS:
            position, stream, version = row[POSITION], row[STREAM], row[VERSION]
            named = (stream, version) if isinstance(stream, str) and isinstance(version, int) else None
            place = position if isinstance(position, int) else 0
            self._checker.see_unreadable(place, named, "a column of another kind")
            self._checker.skip_to(place)
            return
        event = recorded(row)
        if self._checker.see(event) and self._each is not None:
            self._each(event)

    def _page(self, start: int, limit: int) -> tuple[list[Row], str | None]:
        """Up to `limit` rows, and what the store said where it stopped before."""
        rows, error = self._disk.readable(f"{SELECT} {self._order} LIMIT {limit}", (start, *self._values))
        for place, row in enumerate(rows):
            key = row[self._key]
            if not isinstance(key, int) or key < start:  # what SQLite makes of a page of zeros
                return rows[:place], "a row out of nothing"
            start = key
        return rows, error

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
        query = f"SELECT stream, version FROM events {self._order} LIMIT 1"
        rows, error = self._disk.readable(query, (start, *self._values))
        return (str(rows[0][0]), int(rows[0][1])) if rows and error is None else None


def _with_ancestors(origin: Callable[[str], Origin | None], streams: Collection[str]) -> dict[str, int]:
    """Up to which version each of `streams` and of their ancestors is to be seen, parents before their forks."""
    ends: dict[str, int] = {}
    for asked in sorted(streams):
        for stream, to in reversed(lineage(origin, asked, to=HIGHEST)):
            ends[stream] = max(to, ends.get(stream, 0))
    return ends


def _see_heads(disk: Disk, checker: Checker) -> None:
    """What the index still knows of streams whose last events could not be read; nothing where it is broken as well,
    as that page was reported."""
    query = "SELECT stream, version FROM events WHERE stream > ? ORDER BY stream, version DESC LIMIT 1"
    stream = ""
    while (rows := disk.readable(query, (stream,))[0]) != []:
        stream, version = str(rows[0][0]), int(rows[0][1])
        checker.see_head(stream, version)
