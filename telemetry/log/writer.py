"""The one thread that writes: it takes everything that is pending as one group and commits it once.

Knows the chain, fencing and idempotence; knows nothing of encoding or reading.
Invariant: every future it was given is resolved, and only after the COMMIT or ROLLBACK that decided it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from telemetry.errors import (
    FencedWriter,
    IdempotencyConflict,
    LogClosed,
    LogDamaged,
    LogError,
    LogUnwritable,
    WrongExpectedVersion,
)
from telemetry.events.envelope import GENESIS, Recorded, chain_hash
from telemetry.log.forks import hash_at_cut
from telemetry.log.lineage import Origin
from telemetry.log.rows import COLUMNS, SELECT, Prepared, Row, recorded
from telemetry.log.store import Head

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""What may wait for the writer before `submit` blocks: several hundred thousand small events."""

ROW_BYTES = 512
"""What a pending event costs beside its payload, in the count above."""

MAX_CACHED_HEADS = 65_536
"""About 20 MiB; beyond that the cache starts anew, and a head costs a look-up."""

INSERT = f"INSERT INTO events VALUES ({', '.join('?' * len(COLUMNS))})"

HEAD = "SELECT stream, version, hash, epoch, position FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1"


@dataclass(slots=True)
class Pending:
    """One append that waits for its group."""

    stream: str
    events: list[Prepared]
    expected_version: int
    epoch: int
    future: Future[tuple[Recorded, ...]]
    origin: Origin | None = None
    """Of an append that makes a fork."""

    @property
    def cost(self) -> int:
        return sum(len(event.payload) + ROW_BYTES for event in self.events)


Outcome: TypeAlias = tuple[Recorded, ...] | LogError


class Writer:
    """Owns `connection`, which nobody else may use while it lives."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, committed: Callable[[int], None]) -> None:
        self._path = path
        self._connection = connection
        self._committed = committed
        self._heads: dict[str, Head] = {}
        self._position: int | None = None
        self._changed = threading.Condition()
        self._pending: list[Pending] = []
        self._pending_bytes = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"log-writer {path.name}", daemon=True)
        self._thread.start()

    def submit(self, append: Pending) -> None:
        """Hands `append` over; waits while too much is pending. Raises `LogClosed`."""
        cost = append.cost
        with self._changed:
            while not self._closed and self._pending and self._pending_bytes + cost > MAX_PENDING_BYTES:
                self._changed.wait()
            if self._closed:
                raise LogClosed(f"{self._path} was closed; nothing of this append to {append.stream} was kept.")
            self._pending.append(append)
            self._pending_bytes += cost
            self._changed.notify_all()

    def close(self) -> None:
        """Commits what was handed over, ends the thread, and folds the WAL into the file. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        with suppress(sqlite3.Error):  # a full disk keeps the WAL, and with it every event
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _run(self) -> None:
        while group := self._take():
            outcomes = self._commit(group)
            for append, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, LogError):
                    append.future.set_exception(outcome)
                else:
                    append.future.set_result(outcome)

    def _take(self) -> list[Pending]:
        """Everything that is pending, at least one append; nothing once the writer is closed and idle."""
        with self._changed:
            while not self._pending and not self._closed:
                self._changed.wait()
            group, self._pending, self._pending_bytes = self._pending, [], 0
            self._changed.notify_all()
            return group

    def _commit(self, group: list[Pending]) -> list[Outcome]:
        heads: dict[str, Head] = {}
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if self._position is None:
                self._position = last_position(self._connection)
            position = self._position
            outcomes: list[Outcome] = []
            for append in group:
                outcome, position = self._append(append, heads, position)
                outcomes.append(outcome)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, no future may be lost
            self._forget()
            return [self._refusal(error, append) for append in group]
        if len(self._heads) > MAX_CACHED_HEADS:
            self._heads.clear()
        self._heads.update(heads)
        self._position = position
        self._committed(position)
        return outcomes

    def _append(self, append: Pending, heads: dict[str, Head], position: int) -> tuple[Outcome, int]:
        """Inserts one append behind a savepoint of its own; its outcome and the last position after it."""
        head = heads.get(append.stream) or self._head(append.stream)
        if append.epoch < head.epoch:
            return _fenced(append, head), position
        if append.origin is not None:
            if head.version:
                return self._standing(append) or _begun(append, head), position
            cut = hash_at_cut(self._connection, append.stream, append.origin)
            if isinstance(cut, LogError):
                return cut, position
            head = Head(append.stream, append.origin.at_version, cut, 0, 0)
        if append.expected_version != head.version:
            return self._standing(append) or _wrong_version(append, head), position
        rows, end = _chained(append.events, head.hash, position)
        self._connection.execute("SAVEPOINT append")
        try:
            self._connection.executemany(INSERT, rows)
        except sqlite3.IntegrityError:
            self._connection.execute("ROLLBACK TO append")
            standing = self._standing(append)
            if standing is None:
                raise
            return standing, position
        finally:
            if self._connection.in_transaction:  # a full disk may have rolled everything back
                self._connection.execute("RELEASE append")
        position += len(rows)
        version = head.version + len(rows)
        heads[append.stream] = Head(append.stream, version, end, append.epoch, position)
        contents = (event.content for event in append.events)
        return tuple(map(recorded, rows, contents)), position

    def _head(self, stream: str) -> Head:
        head = self._heads.get(stream)
        if head is None:
            row = self._connection.execute(HEAD, (stream,)).fetchone()
            head = Head(*row) if row else Head(stream, 0, GENESIS, 0, 0)
            self._heads[stream] = head
        return head

    def _standing(self, append: Pending) -> Outcome | None:
        """The first result of the append's command; a conflict when its content was another; None when new."""
        select = f"{SELECT} WHERE stream = ? AND command = ? AND ordinal = ?"
        found: list[Recorded] = []
        for event in append.events:
            command, ordinal = event.columns[4], event.columns[5]
            row: Row | None = self._connection.execute(select, (append.stream, command, ordinal)).fetchone()
            if row is None:
                continue
            first = recorded(row, event.content)
            if (first.type, first.schema, first.digest) != (event.columns[2], event.columns[3], event.digest):
                return _conflict(append, first, "another content")
            found.append(first)
        if found and len(found) < len(append.events):
            return _conflict(append, found[-1], f"{len(found)} of these {len(append.events)} events")
        return tuple(found) or None

    def _forget(self) -> None:
        """After a failure only the file knows where the streams end."""
        self._heads.clear()
        self._position = None
        with suppress(sqlite3.Error):  # the next BEGIN says what is wrong, to those who wait for it
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _refusal(self, error: Exception, append: Pending) -> LogError:
        if isinstance(error, LogError):
            return error
        if isinstance(error, sqlite3.OperationalError):
            refusal: LogError = LogUnwritable(
                f"{self._path} takes no more events: {error}. Nothing of this append to {append.stream} was kept; "
                "all acknowledged events are intact. Make room, then append again."
            )
        else:
            refusal = LogDamaged(
                f"{self._path} failed while appending to {append.stream}: {error!r}. Nothing of this append was "
                "kept. Try: aether log verify"
            )
        refusal.__cause__ = error
        return refusal


def last_position(connection: sqlite3.Connection) -> int:
    (position,) = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
    return int(position)


def _chained(events: list[Prepared], previous: bytes, position: int) -> tuple[list[Row], bytes]:
    """The rows of one append after `position`, and the hash of the last."""
    rows: list[Row] = []
    for columns, header, payload, digest, _ in events:
        position += 1
        previous = chain_hash(previous, header, digest)
        rows.append((position, *columns, payload, digest, previous))
    return rows, previous


def _fenced(append: Pending, head: Head) -> FencedWriter:
    return FencedWriter(
        f"{append.stream} was taken over: its epoch is {head.epoch}, this writer's is {append.epoch}. "
        f"Nothing was appended; versions 1–{head.version} are intact. Stop writing to it.",
        epoch=append.epoch,
        current=head.epoch,
    )


def _begun(append: Pending, head: Head) -> LogError:
    return LogError(
        f"{append.stream} has events already, up to version {head.version}, so it cannot begin as a fork. "
        "Nothing was appended; fork into a stream of another name."
    )


def _wrong_version(append: Pending, head: Head) -> WrongExpectedVersion:
    return WrongExpectedVersion(
        f"{append.stream} is at version {head.version}, not {append.expected_version}. "
        "Nothing was appended; read on from there and append again.",
        expected=append.expected_version,
        found=head.version,
    )


def _conflict(append: Pending, first: Recorded, what: str) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"command {first.command!r} stands on {append.stream} already, with {what} (first seen: {first.id}). "
        "Nothing was appended. A command names one content for ever; use a new one."
    )
