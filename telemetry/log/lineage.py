"""A fork's lineage: whose events stand before its own, and up to where.

Knows pointers; knows no store. Invariant: a lineage names no stream twice, and its versions never rise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from telemetry.errors import InvalidEvent
from telemetry.events.envelope import Draft
from telemetry.events.event import Event, Unknown
from telemetry.events.session import Forked
from telemetry.log.store import Origin


def lineage(origin: Callable[[str], Origin | None], stream: str, *, to: int) -> tuple[tuple[str, int], ...]:
    """What stands on `stream` up to version `to`: (stream, version) of itself and each ancestor, nearest first,
    where each one's own events up to that version count. `origin` is an `EventLog`'s."""
    found = {stream: to}
    while (cut := origin(stream)) is not None and cut.parent not in found:
        stream, to = cut.parent, min(to, cut.at_version)
        found[stream] = to
    return tuple(found.items())


def pointer(event: Event | Unknown) -> Origin | None:
    """Where a stream that begins with `event` was cut from; None when it begins itself."""
    if not isinstance(event, Forked):
        return None
    return Origin(event.parent, event.at_version, event.at_hash)


def pointer_of(drafts: Sequence[Draft]) -> Origin | None:
    """The same of an append. Raises `InvalidEvent` when another event than its first would make a fork."""
    for draft in drafts[1:]:
        if isinstance(draft.event, Forked):
            raise InvalidEvent("session.forked must be the first event of its append, as it begins a stream")
    return pointer(drafts[0].event)
