"""A log out of its records: the same events under the same hashes, or exactly what is missing.

Knows files and the order of steps; which records make one history, `history` knows, and how events get into a log,
`imports`. Invariant: cut off anywhere, the same rebuild goes on, as it takes nothing that stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from telemetry.errors import ImportRefused, InvalidEvent
from telemetry.events.system import Pruned
from telemetry.log.imports import Importer
from telemetry.log.store import EventLog
from telemetry.log.verify import SYSTEM
from telemetry.otel.rebuild.history import Gap, Histories, Rebuilt
from telemetry.otel.rebuild.reading import files_in, read_logs
from telemetry.otel.rebuild.spool import Spool
from telemetry.otel.record import event_of, is_ours

Seen = Callable[[int], None]


def rebuild(log: EventLog, paths: Iterable[Path], *, seen: Seen = lambda _: None) -> Rebuilt:
    """Takes the events whose records lie in `paths`, files of OTLP or folders of them, into `log`, which may hold some
    of them: in any order, with any repeats. `seen` hears how many bytes were read.

    Raises `ImportRefused` for what is no file of OTLP, and where the log has another history; what `EventLog.restore`
    raises. What was taken before is in the log then."""
    done, spool = Rebuilt(), Spool()
    try:
        files = [file for path in paths for file in files_in(path)]
        for file in files:
            _read(file, spool, done, seen)
        spool.flush()
        if not spool.given:
            why = "".join(f"\n{fault}" for fault in done.faults[:5])
            names = ", ".join(map(str, files[:5])) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
            raise ImportRefused(f"no record of an event is in {names}. Nothing was imported.{why}")
        done.records = spool.count()
        done.repeats = spool.given - done.records
        _put_together(log, spool, done)
    finally:
        spool.close()
    return done


def _read(path: Path, spool: Spool, done: Rebuilt, seen: Seen) -> None:
    try:
        for found in read_logs(path, broken=done.fault, seen=seen):
            if not is_ours(found.record):
                done.others += 1
                continue
            try:
                spool.put(found.log, event_of(found.record), found.where)
            except InvalidEvent as error:
                done.fault(f"{found.where}: {error}")
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}. Nothing was imported.") from error


def _put_together(log: EventLog, spool: Spool, done: Rebuilt) -> None:
    """First `system`, whose facts say where streams go on from whose beginning was removed, then the others."""
    before = log.position()
    histories = Histories(log, spool, done)
    importer = Importer(log, unit="record", done=done.imported, withheld=done.withheld)
    try:
        histories.choose(SYSTEM)
        for number, event in spool.chosen_of(SYSTEM):
            importer.take(number, event)
        importer.flush()
        histories.choose_all()
        for number, event in spool.chosen():
            if event.stream != SYSTEM:
                importer.take(number, event)
        importer.flush()
    except InvalidEvent as error:
        raise ImportRefused(f"{error}. What was taken before it is in the log: {importer.done}.") from error
    known = done.missing.events - histories.altered + max(0, before - done.imported.stood)
    _judge_positions(log, spool, done, known=known)


def _judge_positions(log: EventLog, spool: Spool, done: Rebuilt, *, known: int) -> None:
    """Whether more positions are empty than there are events of which it is `known` that they were not given. Only
    numbers can be compared: nothing tells at which position a missing event stood."""
    for name in spool.logs():
        gaps = [Gap(name, first, last) for first, last in spool.gaps(name)]
        empty = sum(gap.positions for gap in gaps) - _freed(log, spool, name)
        if empty > known:
            done.gaps += gaps
            done.unnamed += empty - known


def _freed(log: EventLog, spool: Spool, name: str) -> int:
    """At how many positions of the log of that id nothing was given, as it was archived and removed before."""
    lowest: dict[str, int] = {}
    for fact in log.read(SYSTEM):
        match fact.event:
            case Pruned(log=of) as pruned if of == name:
                lowest[pruned.stream] = min(pruned.first, lowest.get(pruned.stream, pruned.first))
    freed = 0
    for stream, first in lowest.items():
        removed = log.removed(stream)
        if removed is not None:
            freed += removed.version - first + 1 - spool.between(stream, first, removed.version)
    return freed
