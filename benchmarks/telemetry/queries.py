"""Two questions over five million events, asked of traces and of the SQLite log that they are of.

The events are one recorded session's, told again in a hundred sessions at a time, each with a payload of its own. They
are put straight into the tables of a log, without a chain that would verify, and into Parquet as the writer of traces
lays them out; a round asks both, the log by SQLite alone. Measured is all of an answer: of ours opening, reading which
files there are, and the check of the statement too."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks.report import ROOT, figure, progress, short
from benchmarks.telemetry.filled import workplace
from telemetry.log import EventLog, open_log
from telemetry.log.export import event_of
from telemetry.query.engine import ask
from telemetry.query.rows.kinds import VERSION
from telemetry.query.rows.story import Row
from telemetry.query.rows.tables import table
from telemetry.query.traces.compact import committed, many_alike, replace
from telemetry.query.traces.files import BUCKETS, Buckets, encoded, partitioned
from telemetry.query.traces.manifest import Manifest
from telemetry.query.traces.place import Folder
from telemetry.query.traces.writer import COMMIT_EVENTS

AREA: Final = "bench-telemetry"
FILTER_GROUP_S: Final = 0.3
TIMELINE_MS: Final = 50.0
"""Floors of issue "Telemetry is a projection", section "Figures"."""

EVENTS: Final = 5_000_000
AT_ONCE: Final = 100
"""Sessions whose events come in turns."""
LONG: Final = 1_000
"""Events of a session."""
APART_NS: Final = 172_800_000
"""Between two events, so that five million are ten days."""
BEGIN_NS: Final = 1_767_225_600_000_000_000
"""2026-01-01."""
ROUNDS: Final = 7
MAZE: Final = ROOT / "tests" / "golden" / "maze.jsonl"

GROUPED: Final = """
SELECT type, count(*) AS n, avg(elapsed_ns) AS mean, max(elapsed_ns) AS longest
FROM events WHERE cycle BETWEEN 2 AND 40 AND phase <> 'session' GROUP BY type
"""
TIMELINE: Final = """
SELECT version, cycle, type, recorded_at, elapsed_ns, cause, payload
FROM events WHERE session = $session ORDER BY version
"""
TIMELINE_OF_LOG: Final = """
SELECT version, cycle, type, at, elapsed_ns, cause, payload FROM events WHERE stream = ? ORDER BY version
"""


class Told(NamedTuple):
    """What an event has in every session."""

    version: int
    cycle: int
    type: str
    schema: int
    phase: str
    command: str
    ordinal: int
    elapsed_ns: int
    cause: str
    """With the session's stream left out."""
    payload: str
    """Without its end, where the event's own number comes."""


def main() -> None:
    """Reports `query_filter_group_s`, `session_timeline_ms`, and the same of the SQLite log."""
    events = EVENTS // 10 if short() else EVENTS
    with workplace() as folder:
        progress(AREA, f"queries: a log of {events:,} events, and its rows in Parquet")
        log = made(folder, events)
        with closing(log), closing(sqlite3.connect(folder / "log.db")) as database:
            _ask(log, str(folder / "traces"), database, sessions=events // LONG)


def _ask(log: EventLog, traces: str, database: sqlite3.Connection, *, sessions: int) -> None:
    chosen = random.Random(0)
    took: dict[str, list[float]] = {name: [] for name in ("grouped", "grouped sqlite", "timeline", "timeline sqlite")}
    answers: dict[str, int] = {}
    for number in range(-1, ROUNDS):
        progress(AREA, f"queries: round {number + 1} of {ROUNDS}")
        session = session_of(chosen.randrange(sessions))

        def grouped() -> int:
            with ask(log, GROUPED, traces=traces) as answer:
                return int(answer.read().num_rows)

        def timeline(session: str = session) -> int:
            with ask(log, TIMELINE, {"session": session}, traces=traces) as answer:
                return int(answer.read().num_rows)

        def grouped_of_log() -> int:
            return len(database.execute(GROUPED).fetchall())

        def timeline_of_log(session: str = session) -> int:
            return len(database.execute(TIMELINE_OF_LOG, (f"session/{session}",)).fetchall())

        for name, one in zip(took, (grouped, grouped_of_log, timeline, timeline_of_log), strict=True):
            seconds, rows = _timed(one)
            assert rows == answers.setdefault(name.partition(" ")[0], rows), name
            if number >= 0:  # the first round reads the files into the machine's memory
                took[name].append(seconds)
    _report(took)


def _report(took: dict[str, list[float]]) -> None:
    for name, of, scale, unit, floor in (
        ("query_filter_group_s", "grouped", 1, "s", FILTER_GROUP_S),
        ("query_filter_group_sqlite_s", "grouped sqlite", 1, "s", None),
        ("session_timeline_ms", "timeline", 1000, "ms", TIMELINE_MS),
        ("session_timeline_sqlite_ms", "timeline sqlite", 1000, "ms", None),
    ):
        samples = [one * scale for one in took[of]]
        figure(name, value=median(samples), unit=unit, op="<=", floor=floor, samples=samples)


def _timed(one: Callable[[], int]) -> tuple[float, int]:
    begin = time.perf_counter()
    rows = one()
    return time.perf_counter() - begin, rows


def made(folder: Path, events: int) -> EventLog:
    """The log, opened to be read, beside its traces."""
    with closing(open_log(str(folder / "log.db"))) as log:
        id_ = log.id
    place, buckets, told = Folder(folder / "traces"), Buckets(BUCKETS), _told()
    manifest = Manifest(log=id_, rows=VERSION, buckets=BUCKETS)
    with closing(sqlite3.connect(folder / "log.db")) as database:
        database.execute("PRAGMA synchronous = OFF")
        for first in range(0, events, COMMIT_EVENTS):
            numbers = range(first, min(first + COMMIT_EVENTS, events))
            stored = [_stored(number, told) for number in numbers]
            database.executemany(f"INSERT INTO events VALUES ({', '.join('?' * len(stored[0]))})", stored)
            database.commit()
            hash_ = stored[-1][-1]
            assert isinstance(hash_, bytes)
            rows = [_row(number, told) for number in numbers]
            files = list(manifest.files)
            for key, part in partitioned(table("events", rows), buckets.keys(rows)):
                file, content = encoded(buckets.partition("events", key), part)
                place.write([(file.path, content)])
                files.append(file)
            manifest = committed(place, manifest, files=files, position=numbers[-1] + 1, hash_=hash_.hex())
            manifest = replace(place, manifest, list(many_alike(manifest)))
    return open_log(str(folder / "log.db"), mode="read")


def _told() -> list[Told]:
    """A recorded session again and again, LONG events of it."""
    once = [event_of(line) for line in MAZE.read_bytes().splitlines()]
    cycles = once[-1].cycle
    return [
        Told(
            version=place + 1,
            cycle=event.cycle + time_ * cycles,
            type=event.type,
            schema=event.schema,
            phase=event.phase,
            command=f"{event.command}.{time_}",
            ordinal=event.ordinal,
            elapsed_ns=event.elapsed_ns,
            cause=event.cause.rpartition("@")[2],
            payload=event.payload.decode()[:-1],
        )
        for place in range(LONG)
        for time_, event in [(place // len(once), once[place % len(once)])]
    ]


@cache
def session_of(number: int) -> str:
    """As ids are: of no order."""
    return sha256(str(number).encode()).hexdigest()[:12]


def _of(number: int, told: list[Told]) -> tuple[str, Told]:
    """Whose event that is, and which of its events: AT_ONCE sessions take turns until they are told."""
    turn, place = divmod(number, AT_ONCE)
    return session_of(turn // LONG * AT_ONCE + place), told[turn % LONG]


def _payload(number: int, event: Told) -> str:
    return f'{event.payload}{"," if len(event.payload) > 1 else ""}"number":{number}}}'


def _stored(number: int, told: list[Told]) -> tuple[int | str | bytes, ...]:
    """As SQLite has it, with 32 bytes of nothing for a digest and a hash."""
    session, event = _of(number, told)
    stream = f"session/{session}"
    cause = f"{stream}@{event.cause}" if event.cause else ""
    at = BEGIN_NS + number * APART_NS
    payload = _payload(number, event).encode()
    return (
        number + 1, stream, event.version, event.type, event.schema, event.command, event.ordinal, at,
        event.elapsed_ns, 1, event.cycle, event.phase, cause, "[]", "execution", "plain", "[]", payload,
        os.urandom(32), os.urandom(32),
    )  # fmt: skip


def _row(number: int, told: list[Told]) -> Row:
    session, event = _of(number, told)
    stream = f"session/{session}"
    cause = f"{stream}@{event.cause}" if event.cause else None
    at = (BEGIN_NS + number * APART_NS) // 1_000
    payload = _payload(number, event)
    return (
        number + 1, stream, session, event.version, event.cycle, f"{stream}@{event.version}", at, None, "execution",
        event.type, event.schema, event.phase, event.command, event.ordinal, event.elapsed_ns, 1, cause, (), (),
        "plain", payload,
    )  # fmt: skip
