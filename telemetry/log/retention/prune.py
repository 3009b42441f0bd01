"""Removing the beginning of a stream, and putting it back: each one transaction, and a fact about itself.

Knows what may be removed and what must be said of it; whether an archive holds it, `archive` knows, and the store how
a transaction is made. Invariant: whatever is missing, the newest fact about its stream says so and gives the anchor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from telemetry.errors import LogError
from telemetry.events.envelope import GENESIS, Draft, Recorded, chain_hash
from telemetry.events.event import Event
from telemetry.events.system import Pruned, Restored
from telemetry.log.forks import hash_at_cut, place_of
from telemetry.log.lineage import FORKED
from telemetry.log.retention.removed import command_of, newest_of, removed_of
from telemetry.log.rows import HEAD, LAST_POSITION, SELECT, STREAM, Row, pointer, prepare, recorded
from telemetry.log.verify import SYSTEM

FIRST = "SELECT coalesce(min(version), 0), coalesce(min(position), 0) FROM events WHERE stream = ?"
REMOVE = "DELETE FROM events WHERE stream = ? AND version <= ?"
FORKS = f"{SELECT} WHERE position > ? AND type = ?"


class Tables(Protocol):
    """A store's tables inside a transaction that no append can come between, and that keeps nothing when the order
    answers with an error."""

    def rows(self, query: str, values: Sequence[str | int]) -> list[Row]: ...

    def run(self, statement: str, values: Sequence[str | int | bytes]) -> int:
        """How many rows it changed."""

    def insert(self, rows: Sequence[Row]) -> bool:
        """Whether they could stand; none of them does where one could not."""


@dataclass(frozen=True, slots=True)
class Prune:
    """An order to remove `stream` up to version `to`, where its hash is `hash`.

    No fork points to the stream among the events up to position `seen`; later ones are looked at."""

    stream: str
    to: int
    hash: str
    log: str
    archive: str
    digest: str
    at: int
    seen: int

    def __call__(self, tables: Tables) -> Recorded | LogError:
        stream, to = self.stream, self.to
        place = place_of(tables.rows, stream, to)
        if place is None or place[1].hex() != self.hash:
            stands = "there is no such event" if place is None else f"its hash is {place[1].hex()[:12]}…"
            return LogError(
                f"{stream} was not removed up to version {to}: {stands}, and the archive has {self.hash[:12]}…. "
                "Nothing was removed. Archive it again, and try: aether log verify"
            )
        forks = [row for row in tables.rows(FORKS, (self.seen, FORKED)) if points_to(recorded(row), stream)]
        if forks:
            return forked_error(stream, [str(row[STREAM]) for row in forks])
        ((first, _),) = tables.rows(FIRST, (stream,))
        ((epoch,),) = tables.rows("SELECT epoch FROM events WHERE stream = ? AND version = ?", (stream, to))
        last = _last(tables)
        if tables.run(REMOVE, (stream, to)) != to - int(first) + 1:
            return LogError(f"{stream} lacks events before version {to}. Nothing was removed. Try: aether log verify")
        fact = Pruned(
            stream=stream,
            first=int(first),
            version=to,
            hash=self.hash,
            epoch=int(epoch),
            log=self.log,
            archive=self.archive,
            digest=self.digest,
        )
        return _say(tables, fact, stream, position=last + 1, at=self.at)


@dataclass(frozen=True, slots=True)
class PutBack:
    """An order to put `events` back at their positions: successive ones, the last of which is the one that what stands
    goes on from. `hash` and `epoch` are those of the event before the first of them."""

    events: Sequence[Recorded]
    hash: bytes
    epoch: int
    log: str
    archive: str
    at: int

    def __call__(self, tables: Tables) -> Recorded | LogError:
        first, last = self.events[0], self.events[-1]
        refused = f"{first.id} to {last.id} were not put back"
        wrong = self._wrong(tables)
        if wrong is not None:
            return LogError(f"{refused}: {wrong}. Nothing was changed.")
        end = _last(tables)
        if not tables.insert([_row(event) for event in self.events]):
            return LogError(
                f"{refused}: other events stand at their positions. Nothing was changed; import the archive into "
                "another log."
            )
        fact = Restored(
            stream=first.stream,
            first=first.version,
            version=last.version,
            hash=self.hash.hex(),
            epoch=self.epoch,
            whole=first.version == 1 or first.type == FORKED,
            log=self.log,
            archive=self.archive,
        )
        return _say(tables, fact, first.stream, position=end + 1, at=self.at)

    def _wrong(self, tables: Tables) -> str | None:
        """Why the events are not those that are missing."""
        first, last = self.events[0], self.events[-1]
        removed = removed_of(tables.rows, first.stream)
        if removed is None:
            return "nothing of it was removed from this log"
        if (removed.version, removed.hash) != (last.version, last.hash):
            return f"what stands goes on from version {removed.version} with hash {removed.hash.hex()[:12]}…"
        previous, version, position = self.hash, first.version - 1, 0
        for event in self.events:
            previous, version = chain_hash(previous, event.header(), event.digest), version + 1
            if (event.version, event.hash) != (version, previous) or event.position <= position:
                return f"{event.id} does not follow on the event before it"
            position = event.position
        ((_, standing),) = tables.rows(FIRST, (first.stream,))
        if position > int(standing or _last(tables)):
            return f"{last.id} stood at position {position}, behind what stands; it comes from another log"
        origin = pointer(first.event) if first.type == FORKED else None
        cut = None if origin is None else hash_at_cut(tables.rows, first.stream, origin)
        return str(cut) if isinstance(cut, LogError) else None


def points_to(event: Recorded, stream: str) -> bool:
    """Whether `event` begins a fork of `stream`."""
    origin = pointer(event.event)
    return origin is not None and origin.parent == stream


def forked_error(stream: str, forks: Collection[str]) -> LogError:
    named = ", ".join(sorted(forks)[:5]) + (f" and {len(forks) - 5} more" if len(forks) > 5 else "")
    return LogError(
        f"{stream} was not removed: {named} began as its forks and share its first events. Nothing was removed. "
        "Archive and remove the forks first."
    )


def _say(tables: Tables, fact: Event, stream: str, *, position: int, at: int) -> Recorded:
    """Appends the fact about `stream`, as the next of those about it."""
    found = tables.rows(HEAD, (SYSTEM,))
    version, previous, epoch = (int(found[0][1]), found[0][2], int(found[0][3])) if found else (0, GENESIS, 1)
    assert isinstance(previous, bytes)
    newest = newest_of(tables.rows, stream)
    ordinal = 0 if newest is None else newest.ordinal + 1
    draft = Draft(event=fact, command=command_of(stream), ordinal=ordinal)
    (event,) = prepare(SYSTEM, [draft], version=version, epoch=epoch, at=at, put_blob=_no_blob)
    row = (position, *event.columns, event.payload, event.digest, chain_hash(previous, event.header, event.digest))
    stands = tables.insert([row])
    assert stands, "the next version, position and ordinal are free under the writer's lock"
    return recorded(row)


def _no_blob(_: bytes) -> str:
    raise AssertionError("a fact about the log is small")


def _last(tables: Tables) -> int:
    return int(tables.rows(LAST_POSITION, ())[0][0])


def _row(event: Recorded) -> Row:
    return (event.position, *event.columns(), event.payload, event.digest, event.hash)
