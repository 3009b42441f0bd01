"""Records on their way back into a log: put into order on disk, each once, so that no history has to fit in memory.

Knows what was given; what follows on what, `history` knows. On disk it is a file without a name, which goes with the
process however that ends. Invariant: of one event there is one row for each way in which it was given, with its payload
if any of its copies had one."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

import orjson

from telemetry.events.envelope import Recorded
from telemetry.log.rows import COLUMNS, recorded

TABLES: Final = """
CREATE TABLE records (
    number INTEGER PRIMARY KEY, log INTEGER NOT NULL, position INTEGER NOT NULL, stream TEXT NOT NULL,
    version INTEGER NOT NULL, command TEXT NOT NULL, header BLOB NOT NULL, encoding TEXT NOT NULL,
    payload BLOB NOT NULL, digest BLOB NOT NULL, hash BLOB NOT NULL, content BLOB, place TEXT NOT NULL,
    same BLOB NOT NULL);
CREATE UNIQUE INDEX copies ON records (stream, version, same);
CREATE TABLE positions (log INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (log, position)) WITHOUT ROWID;
CREATE TABLE chosen (stream TEXT PRIMARY KEY, first INTEGER, last INTEGER, depth INTEGER, cut INTEGER) WITHOUT ROWID;
BEGIN;
"""

PUT: Final = """INSERT INTO records
(log, position, stream, version, command, header, encoding, payload, digest, hash, content, place, same)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (stream, version, same) DO UPDATE
SET encoding = excluded.encoding, payload = excluded.payload, content = excluded.content
WHERE records.encoding = 'withheld' AND excluded.encoding <> 'withheld'"""

LINKS: Final = """SELECT number, version, header, digest, hash, place FROM records
WHERE stream = ? AND version > ? ORDER BY version, number"""

EVENT: Final = "SELECT number, position, header, encoding, payload, digest, hash, content FROM records"
CHOSEN: Final = f"{EVENT} JOIN chosen USING (stream) WHERE version BETWEEN first AND last"
PLACE: Final = """SELECT hash, position FROM records JOIN chosen USING (stream)
WHERE stream = ? AND version = ? AND version BETWEEN first AND last"""

NEXT_STREAM: Final = "SELECT min(stream) FROM records WHERE stream > ?"
COMMAND: Final = "SELECT command FROM records WHERE stream = ? AND version = ?"
ANOTHER: Final = "SELECT coalesce(max(version), 0) FROM records WHERE stream = ? AND version < ? AND command <> ?"
BETWEEN: Final = "SELECT count(DISTINCT version) FROM records WHERE stream = ? AND version BETWEEN ? AND ?"

SCATTERED: Final = """SELECT EXISTS (SELECT 1 FROM (
    SELECT position, lag(position) OVER (PARTITION BY stream ORDER BY version) AS before FROM records)
WHERE position <= before) OR EXISTS (SELECT 1 FROM chosen JOIN records USING (stream)
    WHERE depth > 0 AND version = first AND position <= cut)"""
"""Whether positions contradict versions, or a fork stands before where it was cut."""

GAPS: Final = """SELECT before + 1, position - 1 FROM (
    SELECT position, lag(position, 1, 0) OVER (ORDER BY position) AS before FROM positions WHERE log = ?)
WHERE position > before + 1"""

BATCH_EVENTS: Final = 1_000
BATCH_BYTES: Final = 16 * 1024 * 1024

_ENCODING: Final = COLUMNS.index("encoding") - 1
"""Its place in a header, which lacks the position."""

Cell: TypeAlias = int | str | bytes | None


class Link(NamedTuple):
    """What the chain needs of one row."""

    number: int
    version: int
    header: bytes
    digest: bytes
    hash: bytes
    place: str


class Spool:
    """For one thread. Closed, nothing of it is left."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None)
        self._rows.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {TABLES}")
        self._batch: list[tuple[Cell, ...]] = []
        self._bytes = 0
        self._logs: dict[str, int] = {}
        self.given = 0
        """How many records were put in, repeats among them."""

    def put(self, log: str, event: Recorded, place: str) -> None:
        """`event` of the log of that id was read at `place`."""
        number, header = self._logs.setdefault(log, len(self._logs)), event.header()
        same = hashlib.sha256(header + event.digest + event.hash).digest()
        begins = (number, event.position, event.stream, event.version, event.command, header, event.encoding)
        self._batch.append((*begins, event.payload, event.digest, event.hash, event.content, place, same))
        self._bytes += len(event.payload) + len(event.content or b"")
        self.given += 1
        if len(self._batch) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """To be called once all is given, before anything is asked."""
        self._rows.executemany(PUT, self._batch)
        self._rows.executemany("INSERT OR IGNORE INTO positions VALUES (?, ?)", (row[:2] for row in self._batch))
        self._batch, self._bytes = [], 0

    def logs(self) -> list[str]:
        """Ids of the logs that the records come from, as their resources name them."""
        return list(self._logs)

    def count(self) -> int:
        """How many different records there are."""
        return self._number("SELECT count(*) FROM records")

    def streams(self) -> Iterator[str]:
        """By name."""
        (stream,) = self._rows.execute(NEXT_STREAM, ("",)).fetchone()
        while stream is not None:
            yield stream
            (stream,) = self._rows.execute(NEXT_STREAM, (stream,)).fetchone()

    def links(self, stream: str, *, after: int) -> Iterator[list[Link]]:
        """The rows of the stream above version `after`, one or several a version."""
        rows = self._rows.execute(LINKS, (stream, after))
        for _, links in groupby(map(Link._make, rows), key=attrgetter("version")):
            yield list(links)

    def first(self, stream: str) -> Recorded | None:
        """The stream's first event that was given; one of them where they are several."""
        found = self._rows.execute(f"{EVENT} WHERE stream = ? ORDER BY version LIMIT 1", (stream,)).fetchone()
        return None if found is None else _event(found)[1]

    def between(self, stream: str, first: int, last: int) -> int:
        """How many versions of that stretch were given."""
        return self._number(BETWEEN, stream, first, last)

    def begun(self, stream: str, version: int) -> int:
        """The first of the successive versions up to that one that were written by the same command."""
        (command,) = self._rows.execute(COMMAND, (stream, version)).fetchone()
        return self._number(ANOTHER, stream, version, command) + 1

    def drop(self, numbers: Iterable[int]) -> None:
        """Takes out rows that are not of the history that was chosen."""
        self._rows.executemany("DELETE FROM records WHERE number = ?", ((number,) for number in numbers))

    def choose(self, stream: str, *, first: int, last: int) -> None:
        """Versions `first` to `last` of the stream are to be taken, in place of what was chosen of it before."""
        self._rows.execute("INSERT OR REPLACE INTO chosen VALUES (?, ?, ?, 0, 0)", (stream, first, last))

    def choose_fork(self, stream: str, *, depth: int, cut: int) -> None:
        """The chosen stream is a fork behind `depth` others, cut at position `cut`; at 0 where that event stands."""
        self._rows.execute("UPDATE chosen SET depth = ?, cut = ? WHERE stream = ?", (depth, cut, stream))

    def chosen(self) -> Iterator[tuple[int, Recorded]]:
        """What is to be taken, each with its number, by position; where positions say nothing, as the records are of
        several logs or contradict each other, stream by stream and parents before their forks."""
        by = "depth, stream" if len(self._logs) > 1 or self._number(SCATTERED) else "position"
        return map(_event, self._rows.execute(f"{CHOSEN} ORDER BY {by}, version"))

    def chosen_of(self, stream: str) -> Iterator[tuple[int, Recorded]]:
        """The same of one stream."""
        return map(_event, self._rows.execute(f"{CHOSEN} AND stream = ? ORDER BY version", (stream,)))

    def place_of(self, stream: str, version: int) -> tuple[bytes, int] | None:
        """Hash and position of that event if it is chosen."""
        found: tuple[bytes, int] | None = self._rows.execute(PLACE, (stream, version)).fetchone()
        return found

    def gaps(self, log: str) -> list[tuple[int, int]]:
        """Stretches of positions of that log, before the highest, at which no event was given."""
        return [(int(first), int(last)) for first, last in self._rows.execute(GAPS, (self._logs[log],))]

    def close(self) -> None:
        self._rows.close()

    def _number(self, query: str, *values: str | int) -> int:
        return int(self._rows.execute(query, values).fetchone()[0])


def _event(row: Sequence[Cell]) -> tuple[int, Recorded]:
    number, position, header, encoding, payload, digest, hash_, content = row
    assert isinstance(number, int)
    assert isinstance(header, bytes)
    columns = orjson.loads(header)
    columns[_ENCODING] = encoding
    return number, recorded((position, *columns, payload, digest, hash_), content)  # type: ignore[arg-type]  # as put
