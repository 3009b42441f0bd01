"""A log in tables, whichever database keeps them: how appends get to its writer and how its rows are paged.

Knows queries that every database answers alike; opens, commits and repairs nothing.
Invariant: a reader holds no connection between two pages."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace

from telemetry.errors import LogClosed, LogDamaged, LogUnwritable
from telemetry.events.envelope import Draft, Recorded
from telemetry.log.database import Database
from telemetry.log.disclose import Disclose
from telemetry.log.facts import BEGINNING, SELECT_FACTS, Anchor, Fact, checked_facts, plain_facts
from telemetry.log.forks import origin_of
from telemetry.log.latency import Latencies
from telemetry.log.lineage import FORKED, Origin, lineage
from telemetry.log.retention.prune import Prune, PutBack, forked_error, points_to
from telemetry.log.retention.removed import removed_of
from telemetry.log.rows import (
    ENCODING,
    HEAD,
    LAST_POSITION,
    PAYLOAD,
    POSITION,
    SELECT,
    VERSION,
    Row,
    pointer_of,
    prepare,
    recorded,
)
from telemetry.log.seal import Seal
from telemetry.log.store import Batch, Each, Head, Removed, Subscription
from telemetry.log.subscribe import DiskSubscription
from telemetry.log.verify import VerifyReport
from telemetry.log.writer import Pending, Upkeep, Writer, restoring, underway

PAGE_ROWS = 512
"""At most 16 MiB a page, as no stored payload is above 32 KiB."""

FIRST_BACK_ROWS = 16
"""The first page of reading back, which mostly looks for the latest of something; the pages after it double."""

SCAN_ROWS = 8_192
"""How many positions one query may pass over in search of a type."""

BATCH_CONTENT_BYTES = 16 * 1024 * 1024
"""A batch ends early when the blobs loaded for it reach this."""

ENDS = """SELECT coalesce((SELECT min(version) FROM events WHERE stream = ?), 0),
coalesce((SELECT max(version) FROM events WHERE stream = ?), 0)"""
"""First and last version of a stream's own, each found by key; a fork's first is above 1."""

HIGHEST_CHARACTER = "\U0010ffff"


class StoredLog:
    """`EventLog` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._blobs = database.blobs
        self._rows = database.rows
        self.id = database.id
        self.url = database.url
        self.name = database.name
        self._closed = False

    def submit(
        self, stream: str, drafts: Sequence[Draft], *, expected_version: int, epoch: int
    ) -> Future[tuple[Recorded, ...]]:
        writer = self._writer()
        events = prepare(
            stream, drafts, version=expected_version, epoch=epoch, at=time.time_ns(), put_blob=self._blobs.put
        )
        append = Pending(stream, events, expected_version, epoch, underway(), pointer_of(drafts))
        writer.submit(append)
        return append.future

    def append(
        self, stream: str, drafts: Sequence[Draft], *, expected_version: int, epoch: int
    ) -> tuple[Recorded, ...]:
        return self.submit(stream, drafts, expected_version=expected_version, epoch=epoch).result()

    def restore(self, events: Sequence[Recorded]) -> Future[tuple[Recorded, ...]]:
        writer = self._writer()
        append = restoring(events, put_blob=self._blobs.put)
        writer.submit(append)
        return append.future

    def head(self, stream: str) -> Head | None:
        return _head(self._rows(HEAD, (stream,)))

    def heads(self, *, prefix: str = "", after: str = "", limit: int = 100) -> list[Head]:
        bound, beyond = (after, True) if after >= prefix else (prefix, False)
        rows = self._database.heads(bound, beyond=beyond, until=prefix + HIGHEST_CHARACTER, limit=limit)
        return [Head(*row) for row in rows]  # type: ignore[arg-type]  # columns of these types

    def origin(self, stream: str) -> Origin | None:
        return origin_of(self._rows, stream)

    def read(
        self, stream: str, *, after: int = 0, to: int | None = None, types: Collection[str] = ()
    ) -> Iterator[Recorded]:
        for page in self._pages(SELECT, stream, after, to, types):
            yield from map(self._recorded, page)

    def facts(
        self, stream: str, *, start: Anchor = BEGINNING, to: int | None = None, checked: bool = True
    ) -> Iterator[Fact]:
        if checked:
            return checked_facts(self._pages(SELECT, stream, start.version, to), start, self._blobs.load)
        return plain_facts(self._pages(SELECT_FACTS, stream, start.version, to), self._blobs.load)

    def read_back(self, stream: str, *, before: int | None = None, types: Collection[str] = ()) -> Iterator[Recorded]:
        if before is None:
            head = self.head(stream)
            before = 0 if head is None else head.version + 1
        yield from self._own_back(stream, before, types)
        if before > 1:
            ancestors = self._ancestors(stream, before - 1)
            for ancestor, end in ancestors:
                yield from self._own_back(ancestor, end + 1, types)
            self._check_beginning(ancestors[-1][0] if ancestors else stream, 0)

    def read_all(self, *, after: int = 0, to: int | None = None, types: Collection[str] = ()) -> Iterator[Recorded]:
        last = self.position()
        to = last if to is None else min(to, last)
        while after < to:
            batch = self._batch(after, to, types)
            yield from batch.events
            after = batch.position

    def position(self) -> int:
        return int(self._rows(LAST_POSITION, ())[0][0])

    def size_bytes(self) -> int:
        return self._database.size_bytes()

    def latencies(self) -> Latencies:
        writer = self._database.writer
        return Latencies() if writer is None else writer.latencies

    def writers(self) -> list[str]:
        return self._database.writers()

    def subscribe(self, *, after: int = 0, types: Collection[str] = ()) -> Subscription:
        wanted = tuple(types)

        def read_batch(position: int) -> Batch:
            last = self.position()
            return self._batch(position, last, wanted) if last > position else Batch((), position)

        return DiskSubscription(after, read_batch, self._database.notice, followed=self._database.followed)

    def removed(self, stream: str) -> Removed | None:
        return removed_of(self._rows, stream)

    def prune(self, stream: str, *, to: int, hash_: str, archive: str, digest: str) -> Recorded:
        writer, seen = self._writer(), self.position()
        forks = {event.stream for event in self.read_all(to=seen, types=(FORKED,)) if points_to(event, stream)}
        if forks:
            raise forked_error(stream, forks)
        order = Prune(stream, to, hash_, self.id, archive, digest, time.time_ns(), seen)
        return _carried_out(writer, order)

    def put_back(self, events: Sequence[Recorded], *, hash_: bytes, epoch: int, archive: str) -> Recorded:
        writer = self._writer()
        for event in events:
            if event.content is not None:
                self._blobs.put(event.content)
        return _carried_out(writer, PutBack(events, hash_, epoch, self.id, archive, time.time_ns()))

    def disclose(self, events: Sequence[Recorded]) -> int:
        writer, order = self._writer(), Disclose(events)
        for event in events:
            if event.content is not None:
                self._blobs.put(event.content)
        _carried_out(writer, order)
        return order.done

    def put_blob(self, content: bytes) -> str:
        self._writer()
        return self._blobs.put(content)

    def get_blob(self, digest: str) -> bytes:
        return self._blobs.get(digest)

    def put_snapshot(self, stream: str, version: int, content: bytes) -> None:
        self._writer()
        self._database.snapshots.put(stream, version, content)

    def snapshots(self, stream: str, *, to: int) -> Iterator[tuple[int, bytes]]:
        return self._database.snapshots.newest(stream, to=to)

    def drop_snapshots(self, stream: str | None = None) -> None:
        self._writer()
        self._database.snapshots.drop(stream)

    def verify(
        self, *, seal: Seal | None = None, streams: Collection[str] | None = None, each: Each | None = None
    ) -> VerifyReport:
        return self._database.verify(seal, streams, None if each is None else lambda event: each(self._filled(event)))

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
        self._closed = True
        self._database.notice.close()
        self._database.close()

    def _writer(self) -> Writer:
        if self._database.writer is None:
            raise LogUnwritable(f"{self.name} was opened for reading; nothing was written. Open it with mode='write'.")
        if self._closed:
            raise LogClosed(f"{self.name} was closed; nothing was written. Open it again.")
        return self._database.writer

    def _ancestors(self, stream: str, to: int) -> tuple[tuple[str, int], ...]:
        """Whose own events stand on the stream before its own, nearest first, and up to which version."""
        _, *ancestors = lineage(self.origin, stream, to=to)
        if ancestors and self.head(ancestors[-1][0]) is None:
            raise LogDamaged(
                f"{stream} shares its first events with {ancestors[-1][0]}, which is gone. Its own events are intact "
                "and read by position. Restore a copy of the log, or try: aether log verify"
            )
        return tuple(ancestors)

    def _check_beginning(self, stream: str, after: int) -> None:
        """Raises `EventsPruned` when the stream's own events from `after` on were removed."""
        ((first, _),) = self._rows(ENDS, (stream, stream))
        if after + 1 < int(first) and (removed := self.removed(stream)) is not None:
            raise removed.error(self.name)

    def _check_not_removed(self, stream: str, after: int) -> None:
        """Raises `EventsPruned` when the stream's own events from `after` on, which stood, were removed meanwhile."""
        removed = self.removed(stream)
        if removed is not None and removed.version > after:
            raise removed.error(self.name)

    def _pages(
        self, select: str, stream: str, after: int, to: int | None, types: Collection[str] = ()
    ) -> Iterator[list[Row]]:
        """Rows of the stream's events, its ancestors' among them, in order; `select` has `version` in its place."""
        ((first, last),) = self._rows(ENDS, (stream, stream))
        to = int(last) if to is None else min(to, int(last))
        if after + 1 < int(first):
            ancestors = self._ancestors(stream, to)
            self._check_beginning(ancestors[-1][0] if ancestors else stream, after)
            for ancestor, end in reversed(ancestors):
                yield from self._own(select, ancestor, after, end, types)
        yield from self._own(select, stream, after, to, types)

    def _own(self, select: str, stream: str, after: int, to: int, types: Collection[str]) -> Iterator[list[Row]]:
        among, values = _among(types)
        query = f"{select} WHERE stream = ? AND version > ? AND version <= ?{among} ORDER BY version LIMIT {PAGE_ROWS}"
        begin = after
        while after < to:
            rows = self._rows(query, (stream, after, to, *values))
            if not types and (not rows or rows[0][VERSION] != after + 1):
                self._check_not_removed(stream, after)
            yield rows
            after = int(rows[-1][VERSION]) if len(rows) == PAGE_ROWS else to
        if types and begin < to:  # rows of some types do not show that there were others between them
            self._check_not_removed(stream, begin)

    def _own_back(self, stream: str, before: int, types: Collection[str]) -> Iterator[Recorded]:
        among, values = _among(types)
        query = f"{SELECT} WHERE stream = ? AND version < ?{among} ORDER BY version DESC LIMIT ?"
        page = FIRST_BACK_ROWS
        while before > 1:
            rows = self._rows(query, (stream, before, *values, page))
            yield from map(self._recorded, rows)
            before = int(rows[-1][VERSION]) if len(rows) == page else 0
            page = min(2 * page, PAGE_ROWS)

    def _head_as_of(self, stream: str, position: int) -> Head | None:
        """Where the stream ended at `position`; looked for from its end, as it has not grown far since."""
        return _head(self._rows(HEAD.replace(" ORDER", " AND position <= ? ORDER"), (stream, position)))

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
        return min(last, int(self._rows(query, (position,))[0][0]))

    def _recorded(self, row: Row) -> Recorded:
        if row[ENCODING] != "blob":
            return recorded(row)
        return recorded(row, self._blobs.load(row[PAYLOAD]))

    def _filled(self, event: Recorded) -> Recorded:
        return replace(event, content=self._blobs.load(event.payload)) if event.encoding == "blob" else event


def _head(rows: list[Row]) -> Head | None:
    return Head(*rows[0]) if rows else None  # type: ignore[arg-type]  # columns of these types


def _carried_out(writer: Writer, order: Prune | PutBack | Disclose) -> Recorded:
    upkeep = Upkeep(order, underway())
    writer.submit(upkeep)
    (fact,) = upkeep.future.result()
    return fact


def _among(types: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """A condition on the type, and its values."""
    values = tuple(types)
    return (f" AND type IN ({', '.join('?' * len(values))})", values) if values else ("", ())
