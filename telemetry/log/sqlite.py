"""The embedded store: one SQLite file in WAL mode, `synchronous=FULL`, with one writer at a time.

Knows pages and queries; the writer thread decides what may be appended, `verify` what is intact.
Invariant: readers hold a read transaction for one page of rows, so the WAL can always be checkpointed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

from telemetry.errors import LogDamaged, LogNotFound, LogUnwritable
from telemetry.events.envelope import Draft, Recorded
from telemetry.log.blobs import Blobs
from telemetry.log.connect import Readers, open_for_reading, open_for_writing
from telemetry.log.forks import origin_of
from telemetry.log.lineage import Origin, lineage
from telemetry.log.lock import WriterLock
from telemetry.log.rows import ENCODING, PAYLOAD, POSITION, SELECT, VERSION, Row, pointer_of, prepare, recorded
from telemetry.log.scan import verify_sqlite
from telemetry.log.seal import Seal
from telemetry.log.sqlite_writer import HEAD, SqliteCommitter, last_position
from telemetry.log.store import Batch, Head, Subscription
from telemetry.log.subscribe import DiskSubscription, Notice
from telemetry.log.verify import VerifyReport
from telemetry.log.writer import Pending, Writer

PAGE_ROWS = 512
"""At most 16 MiB a page, as no stored payload is above 32 KiB."""

SCAN_ROWS = 8_192
"""How many positions one query may pass over in search of a type."""

BATCH_CONTENT_BYTES = 16 * 1024 * 1024
"""A batch ends early when the blobs loaded for it reach this."""

ENDS = """SELECT coalesce((SELECT min(version) FROM events WHERE stream = ?1), 0),
coalesce((SELECT max(version) FROM events WHERE stream = ?1), 0)"""
"""First and last version of a stream's own, each found by key; a fork's first is above 1."""

HIGHEST_CHARACTER = "\U0010ffff"


class SqliteLog:
    """`EventLog` on one file."""

    def __init__(self, path: Path, *, mode: Literal["write", "read"], create: bool) -> None:
        self._path = path
        self.url = str(path)
        self._blobs = Blobs(path)
        self._notice = Notice()
        self._writer: Writer | None = None
        self._lock: WriterLock | None = None
        if mode == "read":
            self._readers, self.id = open_for_reading(path)
        else:
            self._readers, self.id = self._start_writing(create)

    def _start_writing(self, create: bool) -> tuple[Readers, str]:
        path = self._path
        if not create and not path.exists():
            raise LogNotFound(f"there is no log at {path}. Check the path, or run something that writes one.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogUnwritable(f"the folder of {path} cannot be made: {error.strerror}.") from error
        lock = WriterLock(path)
        try:
            connection, log_id = open_for_writing(path, create=create)
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        self._writer = Writer(str(path), SqliteCommitter(path, connection, committed=self._notice.committed))
        return Readers(path), log_id

    def submit(
        self, stream: str, drafts: Sequence[Draft], *, expected_version: int, epoch: int
    ) -> Future[tuple[Recorded, ...]]:
        if self._writer is None:
            raise self._only_reading()
        events = prepare(
            stream,
            drafts,
            version=expected_version,
            epoch=epoch,
            at=time.time_ns(),
            put_blob=self._blobs.put,
        )
        future: Future[tuple[Recorded, ...]] = Future()
        future.set_running_or_notify_cancel()  # it cannot be taken back, so `cancel` must answer False
        self._writer.submit(Pending(stream, events, expected_version, epoch, future, pointer_of(drafts)))
        return future

    def append(
        self, stream: str, drafts: Sequence[Draft], *, expected_version: int, epoch: int
    ) -> tuple[Recorded, ...]:
        return self.submit(stream, drafts, expected_version=expected_version, epoch=epoch).result()

    def head(self, stream: str) -> Head | None:
        with self._readers.use() as connection:
            row = connection.execute(HEAD, (stream,)).fetchone()
        return Head(*row) if row else None

    def heads(self, *, prefix: str = "", after: str = "", limit: int = 100) -> list[Head]:
        found: list[Head] = []
        bound, compare = (after, ">") if after >= prefix else (prefix, ">=")
        with self._readers.use() as connection:
            while len(found) < limit:
                (name,) = connection.execute(
                    f"SELECT min(stream) FROM events WHERE stream {compare} ? AND stream < ?",
                    (bound, prefix + HIGHEST_CHARACTER),
                ).fetchone()
                if name is None:
                    break
                found.append(Head(*connection.execute(HEAD, (name,)).fetchone()))
                bound, compare = name, ">"
        return found

    def origin(self, stream: str) -> Origin | None:
        with self._readers.use() as connection:
            return origin_of(connection, stream)

    def read(
        self, stream: str, *, after: int = 0, to: int | None = None, types: Collection[str] = ()
    ) -> Iterator[Recorded]:
        with self._readers.use() as connection:
            first, last = connection.execute(ENDS, (stream,)).fetchone()
        to = last if to is None else min(to, last)
        if after + 1 < first:
            for ancestor, end in reversed(self._ancestors(stream, to)):
                yield from self._own(ancestor, after, end, types)
        yield from self._own(stream, after, to, types)

    def read_back(self, stream: str, *, before: int | None = None, types: Collection[str] = ()) -> Iterator[Recorded]:
        if before is None:
            head = self.head(stream)
            before = 0 if head is None else head.version + 1
        yield from self._own_back(stream, before, types)
        if before > 1:
            for ancestor, end in self._ancestors(stream, before - 1):
                yield from self._own_back(ancestor, end + 1, types)

    def _ancestors(self, stream: str, to: int) -> tuple[tuple[str, int], ...]:
        """Whose own events stand on the stream before its own, nearest first, and up to which version."""
        _, *ancestors = lineage(self.origin, stream, to=to)
        if ancestors and self.head(ancestors[-1][0]) is None:
            raise LogDamaged(
                f"{stream} shares its first events with {ancestors[-1][0]}, which is gone. Its own events are intact "
                "and read by position. Restore a copy of the log, or try: aether log verify"
            )
        return tuple(ancestors)

    def _own(self, stream: str, after: int, to: int, types: Collection[str]) -> Iterator[Recorded]:
        among, values = _among(types)
        query = f"{SELECT} WHERE stream = ? AND version > ? AND version <= ?{among} ORDER BY version LIMIT {PAGE_ROWS}"
        while after < to:
            rows = self._rows(query, (stream, after, to, *values))
            yield from map(self._recorded, rows)
            after = int(rows[-1][VERSION]) if len(rows) == PAGE_ROWS else to

    def _own_back(self, stream: str, before: int, types: Collection[str]) -> Iterator[Recorded]:
        among, values = _among(types)
        query = f"{SELECT} WHERE stream = ? AND version < ?{among} ORDER BY version DESC LIMIT {PAGE_ROWS}"
        while before > 1:
            rows = self._rows(query, (stream, before, *values))
            yield from map(self._recorded, rows)
            before = int(rows[-1][VERSION]) if len(rows) == PAGE_ROWS else 0

    def read_all(self, *, after: int = 0, to: int | None = None, types: Collection[str] = ()) -> Iterator[Recorded]:
        last = self.position()
        to = last if to is None else min(to, last)
        while after < to:
            batch = self._batch(after, to, types)
            yield from batch.events
            after = batch.position

    def position(self) -> int:
        with self._readers.use() as connection:
            return last_position(connection)

    def subscribe(self, *, after: int = 0, types: Collection[str] = ()) -> Subscription:
        wanted = tuple(types)

        def read_batch(position: int) -> Batch:
            last = self.position()
            return self._batch(position, last, wanted) if last > position else Batch((), position)

        return DiskSubscription(after, read_batch, self._notice)

    def put_blob(self, content: bytes) -> str:
        if self._writer is None:
            raise self._only_reading()
        return self._blobs.put(content)

    def get_blob(self, digest: str) -> bytes:
        return self._blobs.get(digest)

    def verify(self, *, seal: Seal | None = None, streams: Collection[str] | None = None) -> VerifyReport:
        with self._readers.use() as connection:
            return verify_sqlite(connection, self._blobs, seal=seal, streams=streams)

    def seal(self) -> Seal:
        as_of = self.position()
        heads: list[tuple[str, int, str]] = []
        after = ""
        while page := self.heads(after=after, limit=1_000):
            for head in page:
                sealed = head if head.position <= as_of else self._head_as_of(head.stream, as_of)
                if sealed is not None:
                    heads.append((sealed.stream, sealed.version, sealed.hash.hex()))
            after = page[-1].stream
        return Seal.of(heads, as_of=as_of)

    def close(self) -> None:
        """Commits what was submitted, leaves one file without a WAL where nobody reads, gives up the lock."""
        self._notice.close()
        self._readers.close()
        if self._writer is not None:
            self._writer.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _head_as_of(self, stream: str, position: int) -> Head | None:
        """Where the stream ended at `position`; looked for from its end, as it has not grown far since."""
        with self._readers.use() as connection:
            row = connection.execute(HEAD.replace(" ORDER", " AND position <= ? ORDER"), (stream, position)).fetchone()
        return Head(*row) if row else None

    def _batch(self, after: int, last: int, types: Collection[str]) -> Batch:
        """Events of `types` above `after`, and how far that looked: to `last` at most."""
        to = min(last, after + SCAN_ROWS) if types else last
        among, values = _among(types)
        query = f"{SELECT} WHERE position > ? AND position <= ?{among} ORDER BY position LIMIT {PAGE_ROWS}"
        rows = self._rows(query, (after, to, *values))
        if not rows and to < last:
            to = self._before_next(to, last)
        if len(rows) == PAGE_ROWS:
            to = int(rows[-1][POSITION])
        events: list[Recorded] = []
        content_bytes = 0
        for row in rows:
            events.append(self._recorded(row))
            content_bytes += len(events[-1].content or b"")
            if content_bytes >= BATCH_CONTENT_BYTES:
                return Batch(tuple(events), events[-1].position)
        return Batch(tuple(events), to)

    def _before_next(self, position: int, last: int) -> int:
        """The end of the empty stretch after `position`. A whole log has none; an altered one may be sparse."""
        query = "SELECT min(position) - 1 FROM events WHERE position > ?"
        with self._readers.use() as connection:
            return min(last, int(connection.execute(query, (position,)).fetchone()[0]))

    def _rows(self, query: str, values: tuple[str | int, ...]) -> list[Row]:
        with self._readers.use() as connection:
            return connection.execute(query, values).fetchall()

    def _recorded(self, row: Row) -> Recorded:
        if row[ENCODING] != "blob":
            return recorded(row)
        return recorded(row, self._blobs.load(row[PAYLOAD]))

    def _only_reading(self) -> LogUnwritable:
        return LogUnwritable(f"{self._path} was opened for reading; nothing was written. Open it with mode='write'.")


def _among(types: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """A condition on the type, and its values."""
    values = tuple(types)
    return (f" AND type IN ({', '.join('?' * len(values))})", values) if values else ("", ())
