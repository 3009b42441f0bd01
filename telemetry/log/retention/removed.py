"""What was removed from a stream and where the rest goes on from, as facts on the stream `system` tell it.

Knows facts and rows; removes nothing. Invariant: all facts about one stream bear one command and are counted by their
ordinals, so that the newest is found by key, however many there are."""

from __future__ import annotations

from telemetry.events.envelope import Recorded
from telemetry.events.system import Pruned, Restored
from telemetry.log.rows import SELECT, Rows, recorded
from telemetry.log.store import EventLog, Removed
from telemetry.log.verify import SYSTEM

NEWEST = f"{SELECT} WHERE stream = ? AND command = ? ORDER BY ordinal DESC LIMIT 1"


def command_of(stream: str) -> str:
    """The command of every fact about what was removed of `stream`."""
    return f"prune {stream}"


def newest_of(rows: Rows, stream: str) -> Recorded | None:
    """The newest fact about what was removed of `stream`."""
    found = rows(NEWEST, (SYSTEM, command_of(stream)))
    return recorded(found[0]) if found else None


def removed_of(rows: Rows, stream: str) -> Removed | None:
    """What is missing of `stream` now; None when it is whole. Raises `InvalidEvent` for a fact that cannot be read."""
    fact = newest_of(rows, stream)
    return None if fact is None else removed_by(fact)


def removed_by(fact: Recorded) -> Removed | None:
    """What was missing of the fact's stream right after it; None when it was whole, and for any other event."""
    match fact.event:
        case Pruned() as pruned:
            version, epoch = pruned.version, pruned.epoch
        case Restored(whole=False) as pruned:
            version, epoch = pruned.first - 1, pruned.epoch
        case _:
            return None
    return Removed(pruned.stream, version, bytes.fromhex(pruned.hash), epoch, fact.at, pruned.archive)


def begins_after(log: EventLog, stream: str) -> int:
    """The version before the first of the stream's own events that stands."""
    origin = log.origin(stream)
    if origin is not None:
        return origin.at_version
    removed = log.removed(stream)
    return removed.version if removed is not None else 0


def freed_by(fact: Recorded, log: str) -> int:
    """By how many positions of the log of that id this event left a gap; below 0 where gaps were filled."""
    match fact.event:
        case Pruned(log=of) as pruned if of == log:
            return pruned.version - pruned.first + 1
        case Restored(log=of) as restored if of == log:
            return restored.first - 1 - restored.version
        case _:
            return 0
