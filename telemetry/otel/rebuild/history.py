"""Which records make one history of a stream, and how far it can be taken into a log.

Knows chains, forks and what stands in the log; puts nothing into it. Invariant: whatever was given is chosen, archived,
or told as held back or faulty; whatever is known of, and was not given and does not stand, is told as missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from telemetry.errors import EventError
from telemetry.events.envelope import GENESIS, chain_hash
from telemetry.log.imports import Imported
from telemetry.log.lineage import FORKED, Origin, lineage
from telemetry.log.rows import pointer
from telemetry.log.store import EventLog
from telemetry.log.stretches import Stretches
from telemetry.log.verify import SYSTEM
from telemetry.otel.rebuild.spool import Link, Spool

MAX_TOLD: Final = 1_000
"""How many faults of records are kept in words; all are counted."""


class Gap(NamedTuple):
    """Positions of the log of that id at which no record was given."""

    log: str
    first: int
    last: int

    @property
    def positions(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}–{self.last}"


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild did, and what it lacks."""

    imported: Imported = field(default_factory=Imported)
    records: int = 0
    """Different ones, of events."""
    repeats: int = 0
    others: int = 0
    """Log records that are of no event, which were passed over."""
    archived: int = 0
    """Events that were given and left out, as they were archived and removed since."""
    missing: Stretches = field(default_factory=Stretches)
    held: Stretches = field(default_factory=Stretches)
    """Events that were given and are not in the log, as something before them is missing or contested."""
    gaps: list[Gap] = field(default_factory=list)
    unnamed: int = 0
    """Events that are missing at these positions, and of which nothing tells the stream."""
    withheld: Stretches = field(default_factory=Stretches)
    """Events that are in the log without their payloads."""
    faults: list[str] = field(default_factory=list)
    """What could not be read, was altered, or contradicts something, with its place."""
    faulty: int = 0

    @property
    def whole(self) -> bool:
        """Whether the log has all that the records tell of."""
        return not (self.missing.events or self.held.events or self.unnamed)

    def fault(self, words: str) -> None:
        self.faulty += 1
        if len(self.faults) < MAX_TOLD:
            self.faults.append(words)


class Histories:
    """Chooses in `spool` what is to be taken into `log`, and tells the rest to `done`."""

    def __init__(self, log: EventLog, spool: Spool, done: Rebuilt) -> None:
        self._log = log
        self._spool = spool
        self._done = done
        self._origins: dict[str, Origin] = {}
        """Of the forks that were given and do not stand."""
        self.altered = 0
        """How many of the missing events were given, but altered."""
        self._seen: dict[str, int] = {}
        """The highest version of a stream that was given."""

    def choose_all(self) -> None:
        """Of every stream but `system`, whose facts are in the log by now."""
        for stream in self._spool.streams():
            if stream != SYSTEM:
                self.choose(stream)
        for stream in sorted(self._origins, key=self._depth):  # a fork of a fork after it
            self._judge_fork(stream)

    def choose(self, stream: str) -> None:
        """Of one stream."""
        begin, previous = self._begin(stream)
        head = self._log.head(stream)
        walk = _Walk(self._log, stream, self._done, begin, previous, head.version if head is not None else 0)
        for links in self._spool.links(stream, after=begin):
            walk.see(links)
        self._spool.drop(walk.dropped)
        self.altered += walk.altered
        last, stands = walk.last, max(begin, walk.standing)
        if (walk.late or walk.missing) and last > stands:  # a part of the last command before it may be missing
            last = max(stands, self._spool.begun(stream, last) - 1)
        for first, to in walk.missing:
            self._done.missing.add(stream, first, to)
        for version in (*range(last + 1, walk.last + 1), *walk.late):
            self._done.held.add(stream, version)
        self._seen[stream] = walk.seen
        self._spool.choose(stream, first=begin + 1, last=last)

    def _begin(self, stream: str) -> tuple[int, bytes]:
        """The version and hash that the stream's first event goes on from, as far as its records say."""
        removed = self._log.removed(stream)
        if removed is not None:
            self._done.archived += self._spool.between(stream, 1, removed.version)
            return removed.version, removed.hash
        first = self._spool.first(stream)
        if first is not None and first.type == FORKED and first.version > 1:
            try:
                origin = pointer(first.event)
            except EventError as error:
                self._done.fault(f"event {first.id}: {error}")
            else:
                if origin is not None and origin.at_version == first.version - 1:
                    if self._log.head(stream) is None:
                        self._origins[stream] = origin
                    return origin.at_version, bytes.fromhex(origin.at_hash)
        return 0, GENESIS

    def _origin(self, stream: str) -> Origin | None:
        return self._origins.get(stream) or self._log.origin(stream)

    def _depth(self, stream: str) -> int:
        origin = self._origins[stream]
        return len(lineage(self._origin, origin.parent, to=origin.at_version))

    def _comes(self, fork: str) -> bool:
        """Whether the fork stands, or its first event is to be taken."""
        origin = self._origins.get(fork)
        return origin is None or self._spool.place_of(fork, origin.at_version + 1) is not None

    def _judge_fork(self, stream: str) -> None:
        """Holds a fork back whose parent does not come as far as it was cut, or only by a fork that is held back."""
        origin = self._origins[stream]
        shared = lineage(self._origin, origin.parent, to=origin.at_version)
        *between, parent = (name for name, to in shared if to == origin.at_version)
        chosen = self._spool.place_of(parent, origin.at_version)
        cut = chosen[0] if chosen is not None else _standing(self._log, parent, origin.at_version)
        if cut is not None and cut.hex() == origin.at_hash and all(map(self._comes, between)):
            self._spool.choose_fork(stream, depth=self._depth(stream), cut=chosen[1] if chosen is not None else 0)
            return
        given = self._seen.get(parent, 0)
        if cut is not None and cut.hex() != origin.at_hash:
            self._done.fault(
                f"{stream} was cut from {parent}@{origin.at_version} with hash {origin.at_hash[:12]}…, and the one "
                f"there has {cut.hex()[:12]}…: {stream} was left out"
            )
        elif cut is None and given < origin.at_version:
            head = self._log.head(parent)
            known = max(given, head.version if head is not None else 0)
            self._done.missing.add(parent, known + 1, origin.at_version)
            self._seen[parent] = origin.at_version
        for links in self._spool.links(stream, after=origin.at_version):
            self._done.held.add(stream, links[0].version)
        self._spool.choose(stream, first=1, last=0)


class _Walk:
    """Along the versions of one stream, from `begin` on. What stands up to version `standing` is not missing."""

    def __init__(self, log: EventLog, stream: str, done: Rebuilt, begin: int, hash_: bytes, standing: int) -> None:
        self._log = log
        self._stream = stream
        self._done = done
        self._hash = hash_
        self.standing = standing
        self.last = self.seen = begin
        """The last version that can be taken, and the last that was given."""
        self.missing: list[tuple[int, int]] = []
        self.late: list[int] = []
        """Versions behind what is missing or contested."""
        self.altered = 0
        """How many of the missing ones were given so that they do not follow."""
        self.dropped: list[int] = []
        """Rows that are not of this history."""

    def see(self, links: list[Link]) -> None:
        """The rows of the next version that was given."""
        version = links[0].version
        if version > self.seen + 1:
            if version - 1 <= self.standing:
                self._hash = self._stands(version - 1)
            else:
                self.missing.append((max(self.seen, self.standing) + 1, version - 1))
        self.seen = version
        if self.missing or self.late:
            self.late.append(version)
            return
        following = [link for link in links if chain_hash(self._hash, link.header, link.digest) == link.hash]
        if len(following) > 1 and version <= self.standing:
            following = [link for link in following if link.hash == self._stands(version)]
        if len(following) == 1:
            self.last, self._hash = version, following[0].hash
        elif following:
            self._contest(following)
            self.late.append(version)
            return
        elif version <= self.standing:
            self.last, self._hash = version, self._stands(version)
        else:
            self.missing.append((version, version))
            self.altered += 1
        self._refuse([link for link in links if link not in following])

    def _refuse(self, links: list[Link]) -> None:
        for link in links:
            self.dropped.append(link.number)
            self._done.fault(
                f"{link.place}: event {self._stream}@{link.version} with hash {link.hash.hex()[:12]}… does not follow "
                "on what stands before it: it was altered, or is of another history"
            )

    def _contest(self, links: list[Link]) -> None:
        told = "; ".join(f"{link.hash.hex()[:12]}… ({link.place})" for link in links)
        self._done.fault(
            f"two histories of {self._stream} part at version {links[0].version}: {told}. Give one of them"
        )

    def _stands(self, version: int) -> bytes:
        hash_ = _standing(self._log, self._stream, version)
        assert hash_ is not None, "it is not above the stream's head"
        return hash_


def _standing(log: EventLog, stream: str, version: int) -> bytes | None:
    """The hash of the event that stands there."""
    return next((event.hash for event in log.read(stream, after=version - 1, to=version)), None)
