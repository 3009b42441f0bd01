"""Is every event still what was acknowledged? One pass in position order, one small state a stream.

Knows the chain; knows no store. Invariant: of each stream the first bad event is named, and nothing before it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telemetry.log.lineage import FORKED, OriginOf, owner
from telemetry.log.seal import Seal
from telemetry.log.stretches import Stretch, Stretches

if TYPE_CHECKING:
    from telemetry.events.envelope import Recorded

SYSTEM = "system"
"""The stream of facts about the log itself."""

MAX_RENAMES = 100
"""To find the stream that an event was taken from costs a look at every stream; a log with more problems than
these has others to solve first."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it was acknowledged. `stream` is empty where no event can be named.

    `what`: `stream`, `version`, `digest`, `hash`, `position`, `missing` (a version), `gap` (positions without events),
    `parent` (what a fork shares with its parent is broken, or another than was forked), `blob`, `unreadable` (bytes
    that SQLite or UTF-8 refuse), `page` (a broken file), `seal` (altered since it was sealed), `cut` (the stream ends
    before its seal), `deleted` (the sealed stream is gone)."""

    stream: str
    version: int
    position: int
    what: str
    found: str
    expected: str

    def __str__(self) -> str:
        if self.what == "page":
            where = f" at position {self.position}" if self.position else ""
            return f"the file is broken{where}: {self.found}"
        if self.what == "gap":
            return f"no event stands at position {self.position}: {self.found}"
        where = f"event {self.version} of {self.stream} (position {self.position})"
        return f"{where}: {self.what}: {self.found} found, {self.expected} expected"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """`problems` in the order they were met: of each stream the first alteration and the first lost content, and then
    those of the whole log.

    `intact` maps each broken stream to its last good version; when the file itself is broken, every stream."""

    as_of: int
    events: int
    streams: int
    problems: tuple[Problem, ...]
    intact: dict[str, int]
    removed: int = 0
    """Events that facts of this log say were archived and removed from it."""
    withheld: tuple[Stretch, ...] = ()
    """Intact events whose payloads are not here, as in a log that was rebuilt from digests. The chain holds without
    them; whoever took a payload away later is found out by this list alone."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        if self.ok:
            gone = f"; {self.removed:,} were archived and removed" if self.removed else ""
            kept = sum(stretch.events for stretch in self.withheld)
            gone += f"; the payloads of {kept:,} are withheld" if kept else ""
            return f"{self.events:,} events of {self.streams:,} streams are intact up to position {self.as_of:,}{gone}"
        lines = [str(problem) for problem in self.problems]
        for stream, version in self.intact.items():
            rest = f"events 1–{version} are intact. Try: aether log export {stream} --to {version}"
            lines.append(f"{stream}: {rest}" if version else f"{stream}: no event is intact")
        return "\n".join(lines)


@dataclass(slots=True)
class _Chain:
    """How far a stream is good."""

    version: int
    hash: bytes
    position: int = 0
    broken: bool = False
    lost: int = 0
    """The first version whose content is lost; the chain goes on behind it."""

    @property
    def intact(self) -> int:
        return min(self.version, self.lost - 1) if self.lost else self.version


@dataclass
class Checker:
    """Sees every event once and collects what is wrong: all in position order, or stream by stream in version
    order, parents before their forks, where `only` names the streams to judge.

    `removed(stream)` gives the version up to which a stream's own events were removed, and the hash there;
    `freed(event)` how many positions an event says to have left empty; `locate(stream, version)` the position and hash
    of such an event, wherever it stands; `origin(stream)` where the stream was cut from its parent; `blob_fault` says
    what is wrong with the content that a blob reference names."""

    removed: Callable[[str], tuple[int, bytes] | None]
    locate: Callable[[str, int], tuple[int, bytes] | None]
    origin: OriginOf
    blob_fault: Callable[[bytes], str | None]
    freed: Callable[[Recorded], int]
    genesis: bytes
    chain: Callable[[bytes, bytes, bytes], bytes]
    only: Collection[str] | None = None
    seal: Seal | None = None
    events: int = 0
    damaged: bool = False
    problems: list[Problem] = field(default_factory=list)
    _chains: dict[str, _Chain] = field(default_factory=dict)
    _sealed: dict[str, tuple[int, str]] = field(default_factory=dict)
    _last: int = 0
    _freed: int = 0
    _withheld: Stretches = field(default_factory=Stretches)
    _outside: list[tuple[Problem, int]] = field(default_factory=list)
    """What is to say of the events after a gap in the positions, and how many are missing before each."""

    def see(self, event: Recorded) -> bool:
        """Whether the event is as it was acknowledged, but for a content that may be lost."""
        self.events += 1
        if self.only is None and event.position != self._last + 1:
            odd = _problem(event, "position", str(event.position), str(self._last + 1))
            self._outside.append((odd, event.position - self._last - 1))
        if event.position < 1:
            return False  # its own stream will miss it
        self._last = max(self._last, event.position)
        chain = self._chains.get(event.stream) or self._begin(event)
        if self.seal is not None and event.position <= self.seal.as_of and self._judged(event.stream):
            self._sealed[event.stream] = (event.version, _hex(event.hash))
        if chain.broken:
            return False
        problem = self._fault(event, chain)
        if problem is None:
            chain.version, chain.hash, chain.position = event.version, event.hash, event.position
            if event.withheld:
                self._withheld.add(event.stream, event.version)
            if event.encoding == "blob" and not chain.lost:
                self._judge_content(event, chain)
            if event.stream == SYSTEM:
                self._freed += self.freed(event)
            return True
        renamed = self._renamed(event)
        self._blame(renamed or problem)
        if renamed is not None and not chain.version:
            del self._chains[event.stream]  # there never was a stream of that name
        return False

    def see_unreadable(self, position: int, named: tuple[str, int] | None, error: str) -> None:
        """An event, or a whole page when even its stream and version cannot be read."""
        if named is None:
            self.damaged = True
            self.problems.append(Problem("", 0, position, "page", error, "readable pages"))
        elif not self._chains.setdefault(named[0], _Chain(0, self.genesis)).broken:
            self._blame(Problem(*named, position, "unreadable", error, "a readable event"))

    def skip_to(self, position: int) -> None:
        """Positions up to here could not be read, so their absence is no further news."""
        if self.only is None:
            self._last = max(self._last, position)

    def see_head(self, stream: str, version: int) -> None:
        """Where the index says that the stream ends, for a file of which not all could be read."""
        chain = self._chains.setdefault(stream, _Chain(0, self.genesis))
        if not chain.broken and chain.version < version:
            self._blame(Problem(stream, chain.version + 1, 0, "missing", "an unreadable page", "an event"))

    def report(self) -> VerifyReport:
        self._judge_positions()
        if self.seal is not None:
            self._judge_seal(self.seal)
        chains = self._chains.items()
        intact = {name: chain.intact for name, chain in chains if chain.broken or chain.lost or self.damaged}
        return VerifyReport(
            as_of=self._last,
            events=self.events,
            streams=len(self._chains),
            problems=tuple(self.problems),
            intact=intact,
            removed=self._freed,
            withheld=tuple(self._withheld),
        )

    def _blame(self, problem: Problem) -> None:
        self._chains[problem.stream].broken = True
        self.problems.append(problem)

    def _judged(self, stream: str) -> bool:
        return self.only is None or stream in self.only

    def _begin(self, event: Recorded) -> _Chain:
        """Where the stream goes on from: from nothing, or from the event of its parent that it was cut at."""
        stream = event.stream
        chain = self._chains[stream] = _Chain(0, self.genesis)
        origin = self.origin(stream) if event.version != 1 else None
        if origin is None:
            if event.version != 1 and event.type == FORKED:
                self._blame(_problem(event, "parent", "a pointer that cannot be read", "where the stream was cut"))
            elif event.version != 1 and (anchor := self.removed(stream)) is not None:
                chain.version, chain.hash = anchor
            return chain
        of = owner(self.origin, origin.parent, origin.at_version)
        shared = self._chains.get(of, chain).version
        place = self.locate(of, origin.at_version)
        if shared < origin.at_version or place is None:
            chain.version = min(shared, origin.at_version)
            found, expected = f"{of} intact up to version {shared}", f"up to {origin.at_version}"
        elif _hex(place[1]) != origin.at_hash:  # the parent agrees with itself, but is not the one that was forked
            found, expected = _short(place[1]), f"{origin.at_hash[:12]}…"
        else:
            chain.version, chain.hash, chain.position = origin.at_version, place[1], place[0]
            return chain
        self._blame(Problem(stream, origin.at_version + 1, event.position, "parent", found, expected))
        return chain

    def _fault(self, event: Recorded, chain: _Chain) -> Problem | None:
        expected = chain.version + 1
        if event.version != expected:
            return self._misplaced(event, expected, chain.hash)
        if event.position <= chain.position:
            return _problem(event, "position", str(event.position), f"one after {chain.position}")
        digest = hashlib.sha256(_bytes(event.payload)).digest()
        if digest != event.digest and not event.withheld:
            return _problem(event, "digest", _short(digest), _short(event.digest))
        hash_ = self.chain(chain.hash, event.header(), event.digest)
        if hash_ != event.hash:
            return _problem(event, "hash", _short(event.hash), _short(hash_))
        return None

    def _judge_content(self, event: Recorded, chain: _Chain) -> None:
        fault = self.blob_fault(event.payload)
        if fault is not None:
            chain.lost = event.version
            self.problems.append(_problem(event, "blob", f"content that {fault}", "the content as stored"))

    def _misplaced(self, event: Recorded, expected: int, previous: bytes) -> Problem:
        """Another version stands where `expected` should: renumbered, moved, or the expected one is gone."""
        stream = event.stream
        place = self.locate(stream, expected)
        if place is not None:
            return Problem(stream, expected, place[0], "position", str(place[0]), f"one before {event.position}")
        renumbered = {**vars(event), "version": expected}
        if self.chain(previous, type(event)(**renumbered).header(), event.digest) == event.hash:
            return Problem(stream, expected, event.position, "version", str(event.version), str(expected))
        return Problem(stream, expected, event.position, "missing", f"version {event.version}", f"version {expected}")

    def _renamed(self, event: Recorded) -> Problem | None:
        """The stream that this event would continue if it bore its name."""
        if len(self.problems) > MAX_RENAMES:
            return None
        for name, chain in self._chains.items():
            if chain.broken or chain.version != event.version - 1 or name == event.stream:
                continue
            header = type(event)(**{**vars(event), "stream": name}).header()
            if self.chain(chain.hash, header, event.digest) == event.hash:
                return Problem(name, event.version, event.position, "stream", event.stream, name)
        return None

    def _judge_positions(self) -> None:
        if self._freed and sum(missing for _, missing in self._outside) == self._freed:
            return
        for odd, missing in self._outside:
            if 1 <= odd.position <= self.events + self._freed:
                found = f"the next event is {odd.stream}@{odd.version} at position {odd.position}"
                if self._freed:
                    found += f", and not all gaps are of the {self._freed:,} events that were removed"
                self.problems.append(Problem("", 0, odd.position - missing, "gap", found, "an event"))
                if self._freed:
                    return
            elif not any(p.stream == odd.stream and p.version == odd.version for p in self.problems):
                self.problems.append(odd)

    def _judge_seal(self, seal: Seal) -> None:
        for stream, version, end in seal.heads:
            found = self._sealed.pop(stream, None)
            if found == (version, end) or (found is None and self._was_removed(stream, version, end)):
                continue
            chain = self._chains.setdefault(stream, _Chain(0, self.genesis))
            if chain.broken:
                continue
            if found is None:
                what, text = "deleted", "no event"
            elif found[0] < version:
                what, text = "cut", f"version {found[0]} as the last of position {seal.as_of}"
            else:
                what, text = "seal", f"version {found[0]} with hash {found[1][:12]}…"
                chain.version = 0  # a rewritten chain agrees with itself, so nothing shows which part is old
            self._blame(Problem(stream, version, seal.as_of, what, text, f"version {version} with hash {end[:12]}…"))
        for stream, (version, _) in self._sealed.items():
            if not self._chains[stream].broken:
                self._blame(Problem(stream, version, seal.as_of, "seal", "a stream", "none of that name"))

    def _was_removed(self, stream: str, version: int, end: str) -> bool:
        """Whether the sealed event is among those that were removed, as far as the anchor can tell."""
        anchor = self.removed(stream)
        return anchor is not None and (version < anchor[0] or (version, end) == (anchor[0], anchor[1].hex()))


def _problem(event: Recorded, what: str, found: str, expected: str) -> Problem:
    return Problem(event.stream, event.version, event.position, what, found, expected)


def _bytes(value: object) -> bytes:
    """A stored payload; in an altered file it can be text."""
    return value if isinstance(value, bytes) else repr(value).encode()


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)


def _short(value: object) -> str:
    return f"{_hex(value)[:12]}…"
