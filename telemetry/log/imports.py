"""Exported lines into a log: the same events under the same hashes, whatever stood there before.

Knows which line goes where; what may be appended, the log knows. Invariant: of each stream the log holds afterwards
what the lines say, from its beginning to some event of theirs; the same lines again add nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from telemetry.errors import ImportRefused, InvalidEvent, LogClosed, LogError, LogUnwritable
from telemetry.events.envelope import GENESIS, Recorded, chain_hash
from telemetry.log.export import MAX_LINE_BYTES, event_of
from telemetry.log.lineage import FORKED
from telemetry.log.retention.archive import ArchiveFile, verify_archive
from telemetry.log.rows import pointer
from telemetry.log.seal import Seal
from telemetry.log.store import EventLog, Removed
from telemetry.log.stretches import Stretches
from telemetry.log.verify import SYSTEM

WINDOW_EVENTS = 8_192
WINDOW_BYTES = 16 * 1024 * 1024
"""What is held before it is handed to the log; a window ends where a command did, so that none is torn."""


@dataclass(slots=True)
class Imported:
    """What an import did: events that are `new` to the log, and those that `stood` there already."""

    new: int = 0
    stood: int = 0
    streams: int = 0
    without_content: int = 0
    """Events whose content the lines lack, as the log they come from had lost it."""
    withheld: int = 0
    """Events that came without their payload."""
    disclosed: int = 0
    """Events that stood without their payload, and have it now."""

    def __add__(self, more: Imported) -> Imported:
        return Imported(*(getattr(self, name) + getattr(more, name) for name in self.__slots__))

    def __str__(self) -> str:
        what = f"{self.new:,} events of {self.streams:,} streams imported" if self.new else "nothing new"
        stood = f", {self.stood:,} stood already" if self.stood else ""
        lost = f", {self.without_content:,} came without their content" if self.without_content else ""
        withheld = f", the payloads of {self.withheld:,} are withheld" if self.withheld else ""
        disclosed = f", {self.disclosed:,} withheld payloads put where they belong" if self.disclosed else ""
        return f"{what}{stood}{lost}{withheld}{disclosed}"


@dataclass(slots=True)
class _Stream:
    """One stream: how far the lines have come, and up to where the log held it before."""

    version: int
    hash: bytes
    standing: int
    touched: bool = False


def import_lines(
    log: EventLog, lines: Iterable[bytes], *, name: str = "the export", seen: Callable[[int], None] = lambda _: None
) -> Imported:
    """Takes what `export_lines` wrote into `log`, which may hold some of it. `name` is what people know the lines by;
    `seen` hears the length of each.

    Raises `ImportRefused` at the first line that is broken or contradicts what stands; the commands that ended before
    it are in the log, and the same import again goes on there. Raises `LogUnwritable` as an append does."""
    importer = Importer(log)
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            importer.take(number, event_of(line))
            seen(len(line))
        importer.flush()
    except InvalidEvent as error:
        importer.drop_last_command()
        importer.flush()
        raise ImportRefused(f"{name}, line {number}: {error}. {_kept(importer.done)}") from error
    except ImportRefused as error:
        raise ImportRefused(f"{name}, {error} {_kept(importer.done)}") from error
    return importer.done


def import_archive(log: EventLog, path: Path, *, seen: Callable[[int], None] = lambda _: None) -> Imported:
    """Takes the events of an archive into `log`: back to where they were when they were removed from it, else as new
    ones. `seen` hears how many bytes each event has. Raises `ArchiveDamaged`, and what `import_lines` and
    `EventLog.put_back` raise."""
    with ArchiveFile(path) as file:
        removed = log.removed(file.archive.stream)
        if removed is not None:
            verify_archive(path)
            return _put_back(log, file, removed, path.name, seen)
        importer = Importer(log)
        try:
            for number, event in enumerate(file.events(), start=1):
                importer.take(number, event)
                seen(len(event.payload) + len(event.content or b""))
            importer.flush()
        except InvalidEvent as error:
            raise ImportRefused(f"{path}: {error}. Nothing of it that did not stand there was imported.") from error
        return importer.done


def _put_back(log: EventLog, file: ArchiveFile, removed: Removed, name: str, seen: Callable[[int], None]) -> Imported:
    """Group by group, from the last that is missing to the first: between two the log is whole from its anchor on."""
    done = Imported()
    for number in reversed(range(file.groups)):
        events = [event for event in file.group(number) if event.version <= removed.version]
        if not events:
            continue
        before = file.group(number - 1)[-1] if number else None
        hash_ = bytes.fromhex(file.archive.before) if before is None else before.hash
        log.put_back(events, hash_=hash_, epoch=before.epoch if before else 0, archive=name)
        done.new += len(events)
        done.without_content += sum(event.encoding == "blob" and event.content is None for event in events)
        seen(sum(len(event.payload) + len(event.content or b"") for event in events))
        done.withheld += sum(event.withheld for event in events)
    done.streams = int(done.new > 0)
    return done


def lacking(log: EventLog, seal: Seal) -> list[str]:
    """The ends that `seal` names and `log` does not have, each as an event id with the sealed hash. Positions do not
    count, as those of imported events are their own. Raises `InvalidSeal`."""
    seal.check()
    missing = []
    found: str | None
    for stream, version, end in seal.heads:
        removed = log.removed(stream)
        if removed is not None and version <= removed.version:
            found = removed.hash.hex() if version == removed.version else end  # the rest only the archive can tell
        else:
            found = next((event.hash.hex() for event in log.read(stream, after=version - 1, to=version)), None)
        if found != end:
            missing.append(f"{stream}@{version} with hash {end[:12]}…")
    return missing


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of `file`, one at a time and none longer than an event can be."""
    while line := file.readline(MAX_LINE_BYTES):
        yield line


@dataclass(slots=True)
class Importer:
    """Takes events one by one, in the order of their positions in the log they come from. `unit` is what errors call
    the places they stood at."""

    log: EventLog
    done: Imported = field(default_factory=Imported)
    withheld: Stretches = field(default_factory=Stretches)
    """Events that came, and are in the log without their payloads."""
    unit: str = "line"
    _streams: dict[str, _Stream] = field(default_factory=dict)
    _window: list[tuple[int, Recorded]] = field(default_factory=list)
    _bytes: int = 0

    def take(self, line: int, event: Recorded) -> None:
        """`event` stood on line `line`. Events that stand in the log may be passed over. Raises `InvalidEvent` when it
        does not follow on what came before it, and what `flush` raises."""
        stream = self._streams.get(event.stream) or self._begin(event)
        if stream.version < event.version - 1 <= stream.standing:
            stream.version, stream.hash = event.version - 1, self._hash_at(event.stream, event.version - 1)
        if event.version != stream.version + 1:
            raise InvalidEvent(f"event {event.id} follows on version {stream.version} of {event.stream}")
        found = chain_hash(stream.hash, event.header(), event.digest)
        if found != event.hash:
            raise InvalidEvent(
                f"event {event.id} was altered: its hash is {event.hash.hex()[:12]}…, "
                f"{found.hex()[:12]}… follows from what stands before it"
            )
        if self._is_full() and not self._continues(event):
            self.flush()
        stream.version, stream.hash = event.version, event.hash
        self._window.append((line, event))
        self._bytes += len(event.payload) + len(event.content or b"")
        if event.stream == SYSTEM:
            self.flush()  # what it says to be removed is where other streams go on from

    def drop_last_command(self) -> None:
        """Forgets what the last command wrote as far as it was taken: a part of it may be missing."""
        if self._window:
            last = self._window[-1][1]
            while self._window and self._continues(last):
                self._window.pop()

    def flush(self) -> None:
        """Hands over what was taken; returns when it is on disk. Raises `ImportRefused` for what contradicts what
        stands in the log, and what appending raises."""
        window, self._window, self._bytes = self._window, [], 0
        new: list[tuple[int, Recorded]] = []
        standing: dict[str, list[tuple[int, Recorded]]] = {}
        for line, event in window:
            if event.version <= self._streams[event.stream].standing:
                standing.setdefault(event.stream, []).append((line, event))
            else:
                new.append((line, event))
        for given in standing.values():
            self._compare(given)
        self._append(new)

    def _begin(self, event: Recorded) -> _Stream:
        head = self.log.head(event.stream)
        before = event.version - 1
        removed = self.log.removed(event.stream)
        origin = pointer(event.event) if event.type == FORKED else None
        if removed is not None and before == removed.version:
            hash_ = removed.hash
        elif removed is not None and head is None:
            raise InvalidEvent(str(removed.error(self.log.name)))
        elif origin is not None and origin.at_version == before:
            hash_ = bytes.fromhex(origin.at_hash)
        elif before < 1:
            before, hash_ = 0, GENESIS
        else:
            last = next(self.log.read(event.stream, after=before - 1, to=before), None)
            if last is None:
                raise InvalidEvent(
                    f"the first event of {event.stream} is version {event.version}, and the log has none before it; "
                    "import what comes before it first"
                )
            hash_ = last.hash
        stream = self._streams[event.stream] = _Stream(before, hash_, head.version if head else 0)
        return stream

    def _hash_at(self, stream: str, version: int) -> bytes:
        return next(self.log.read(stream, after=version - 1, to=version)).hash

    def _is_full(self) -> bool:
        return len(self._window) >= WINDOW_EVENTS or self._bytes >= WINDOW_BYTES

    def _continues(self, event: Recorded) -> bool:
        """Whether the command that wrote the last event that was taken wrote `event` too."""
        last = self._window[-1][1]
        return (last.stream, last.command) == (event.stream, event.command)

    def _compare(self, given: list[tuple[int, Recorded]]) -> None:
        """Whether these events of one stream are the ones that stand in the log."""
        first, last = given[0][1], given[-1][1]
        stands = self.log.read(first.stream, after=first.version - 1, to=last.version)
        disclosed: list[Recorded] = []
        for line, event in given:
            stood = next(stood for stood in stands if stood.version == event.version)
            if event.hash != stood.hash:
                raise ImportRefused(
                    f"{self.unit} {line}: event {event.id} is another than the one that stands in {self.log.name}: "
                    f"hash {event.hash.hex()[:12]}… given, {stood.hash.hex()[:12]}… stands. {event.stream} was left as "
                    f"it is. Import into a log that has no {event.stream}."
                )
            if stood.content is None and event.content is not None:
                self.log.put_blob(event.content)
            if stood.withheld and event.withheld:
                self.withheld.add(event.stream, event.version)
            elif stood.withheld:
                disclosed.append(event)
        if disclosed:
            self.done.disclosed += self.log.disclose(disclosed)
        self.done.stood += len(given)

    def _append(self, new: list[tuple[int, Recorded]]) -> None:
        """Run by run, in the order of the lines, so that what caused something stands before it here too."""
        runs: list[list[tuple[int, Recorded]]] = []
        for line, event in new:
            last = runs[-1][-1][1] if runs else None
            if last is not None and (last.stream, last.epoch) == (event.stream, event.epoch):
                runs[-1].append((line, event))
            else:
                runs.append([(line, event)])
        futures = [self.log.restore([event for _, event in run]) for run in runs]
        refused: BaseException | None = None
        for run, future in zip(runs, futures, strict=True):
            error = future.exception()
            if error is None:
                self._count(run)
            else:
                refused = refused or _refused(self.unit, run, error)
        if refused is not None:
            raise refused

    def _count(self, run: list[tuple[int, Recorded]]) -> None:
        stream = self._streams[run[0][1].stream]
        self.done.streams += not stream.touched
        stream.touched = True
        self.done.new += len(run)
        self.done.without_content += sum(event.encoding == "blob" and event.content is None for _, event in run)
        for _, event in run:
            if event.withheld:
                self.done.withheld += 1
                self.withheld.add(event.stream, event.version)


def _kept(done: Imported) -> str:
    return (
        f"The commands that ended before it are in the log: {done}. Import again from an unaltered copy to go on there."
    )


def _refused(unit: str, run: list[tuple[int, Recorded]], error: BaseException) -> BaseException:
    """What to tell of a run that the log did not take."""
    if not isinstance(error, LogError) or isinstance(error, LogClosed | LogUnwritable):
        return error
    refused = ImportRefused(f"{unit}s {run[0][0]}–{run[-1][0]}: {error}")
    refused.__cause__ = error
    return refused
