"""What may be appended: fencing, the expected version, commands that stand already, forks, and the chain.

Knows no store and no statement; `Standing` is what it asks of one.
Invariant: of one append every event is kept, as the next of its stream, or none."""

from __future__ import annotations

from typing import Protocol

from telemetry.errors import FencedWriter, IdempotencyConflict, LogError, WrongExpectedVersion
from telemetry.events.envelope import GENESIS, Recorded, chain_hash
from telemetry.log.lineage import Origin
from telemetry.log.rows import Prepared, Row, recorded
from telemetry.log.store import Head
from telemetry.log.writer import Outcome, Pending

MAX_CACHED_HEADS = 65_536
"""About 20 MiB; beyond that the cache starts anew, and a head costs a look-up."""


class Standing(Protocol):
    """What stands in a store, as seen from inside the transaction of a group."""

    def head(self, stream: str) -> Head | None:
        """The stream's last event; None when it has none."""

    def command(self, stream: str, command: str, ordinal: int) -> Row | None:
        """The event of that command, if it stands."""

    def cut(self, stream: str, origin: Origin) -> bytes | LogError:
        """The hash that `stream` goes on from when it is cut off at `origin`, or why it cannot be."""

    def keep(self, rows: list[Row]) -> bool:
        """Takes the rows of one append, or none of them when a command among them stands already: False then."""


class Group:
    """Decides the appends of one transaction, one after the other, on top of `position`, the last that is taken.

    `heads` is what the store's committer remembers of streams' ends from group to group; to be emptied after a
    failure, when only the store knows them."""

    def __init__(self, heads: dict[str, Head], standing: Standing, *, position: int) -> None:
        self._heads = heads
        self._standing = standing
        self._new: dict[str, Head] = {}
        self.position = position

    def committed(self) -> None:
        """The group is on disk."""
        if len(self._heads) > MAX_CACHED_HEADS:
            self._heads.clear()
        self._heads.update(self._new)

    def take(self, append: Pending) -> Outcome:
        """Keeps one append, or says why not."""
        head = self._new.get(append.stream) or self._head(append.stream)
        if append.epoch < head.epoch:
            return _fenced(append, head)
        if append.origin is not None:
            if head.version:
                return self._first_result(append) or _begun(append, head)
            cut = self._standing.cut(append.stream, append.origin)
            if isinstance(cut, LogError):
                return cut
            head = Head(append.stream, append.origin.at_version, cut, 0, 0)
        if append.expected_version != head.version:
            return self._first_result(append) or _wrong_version(append, head)
        rows, end = _chained(append.events, head.hash, self.position)
        if append.end_hash is not None and append.end_hash != end:
            return _another_end(append, end)
        if not self._standing.keep(rows):
            first = self._first_result(append)
            assert first is not None, "a command that stands can be found"
            return first
        self.position += len(rows)
        version = head.version + len(rows)
        self._new[append.stream] = Head(append.stream, version, end, append.epoch, self.position)
        contents = (event.content for event in append.events)
        return tuple(map(recorded, rows, contents))

    def _head(self, stream: str) -> Head:
        head = self._heads.get(stream)
        if head is None:
            head = self._standing.head(stream)
            if head is None:
                return Head(stream, 0, GENESIS, 0, 0)
            self._heads[stream] = head
        return head

    def _first_result(self, append: Pending) -> Outcome | None:
        """The first result of the append's command; a conflict when its content was another; None when new."""
        found: list[Recorded] = []
        for event in append.events:
            row = self._standing.command(append.stream, str(event.columns[4]), int(event.columns[5]))
            if row is None:
                continue
            first = recorded(row, event.content)
            if (first.type, first.schema, first.digest) != (event.columns[2], event.columns[3], event.digest):
                return _conflict(append, first, "another content")
            found.append(first)
        if found and len(found) < len(append.events):
            return _conflict(append, found[-1], f"{len(found)} of these {len(append.events)} events")
        if found and append.end_hash not in (None, found[-1].hash):
            return _conflict(append, found[-1], "another envelope")
        return tuple(found) or None


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


def _another_end(append: Pending, end: bytes) -> LogError:
    assert append.end_hash is not None
    return LogError(
        f"these {len(append.events)} events of {append.stream} would end with hash {end.hex()[:12]}…, "
        f"{append.end_hash.hex()[:12]}… was given: one of them was altered. Nothing was appended; "
        "take them from an unaltered copy."
    )


def _conflict(append: Pending, first: Recorded, what: str) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"command {first.command!r} stands on {append.stream} already, with {what} (first seen: {first.id}). "
        "Nothing was appended. A command names one content for ever; use a new one."
    )
