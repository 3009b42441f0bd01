"""Which sessions a training learnt from, asked from either end.

Knows where that stands: in the training's event, in the file beside the weights, or only in its range of the log.
Invariant: a session is among those of a training exactly when the training is among those of the session."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from runtime.lineage.records import About, Begun, begun, refs_of
from runtime.lineage.values import Shelf
from runtime.sessions import PREFIX
from telemetry.events import split_id
from telemetry.events.learn import ModelTrained
from telemetry.events.values import EventId
from telemetry.log import EventLog

MOST_LOOKED = 20_000
"""Sessions that are looked at for what no event names: at 0.1 ms each about two seconds."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The first of `count` sessions: the last event of each that was learnt from, or the session's stream where only
    that is known."""

    named: tuple[EventId, ...]
    count: int
    said: str = ""


def learnt_from(log: EventLog, training: About, *, shelf: Shelf, limit: int) -> Sessions:
    event = training.event
    assert isinstance(event, ModelTrained), "a training's event"
    refs = refs_of(training.recorded)
    if refs:
        return Sessions(refs[:limit], len(refs))
    kept = shelf(event.model)
    if kept is not None:
        streams = tuple(PREFIX + name for name in kept.sessions)
        return Sessions(streams[:limit], len(streams), "as the file beside its weights says")
    found = begun(log, since=event.from_position - 1)
    looked = list(islice(found, MOST_LOOKED + 1))
    within = [one.stream for one in looked[:MOST_LOOKED] if _in_range(one, event)]
    bound = f", of the first {MOST_LOOKED:,} sessions; there are more" if len(looked) > MOST_LOOKED else ""
    return Sessions(tuple(within[:limit]), len(within), f"at most, by its range of the log{bound}")


def learnt(training: About, stream: str, *, since: int, session: Begun | None, shelf: Shelf) -> bool:
    """Whether the training learnt from what `stream` did at version `since` or after it. `session` is how it began,
    where that can be read."""
    event = training.event
    assert isinstance(event, ModelTrained), "a training's event"
    refs = refs_of(training.recorded)
    if refs:
        return any(of == stream and end >= since for of, end in map(split_id, refs))
    kept = shelf(event.model)
    if kept is not None:
        return stream.removeprefix(PREFIX) in kept.sessions
    return session is not None and _in_range(session, event)


def _in_range(session: Begun, event: ModelTrained) -> bool:
    scenarios = event.config.get("scenarios")
    return (
        session.recorded.position <= event.to_position
        and session.last >= event.from_position
        and session.opened.purpose is None
        and (not isinstance(scenarios, list) or session.opened.scenario in scenarios)
    )
