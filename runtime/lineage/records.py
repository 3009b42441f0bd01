"""What a log says of models and of what sessions acted by.

Knows streams and the events on them; walks nowhere. Invariant: only what is asked for is read: a model's stream by
types, a session's first event, and its adoptions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import orjson

from runtime.entry import STREAM, stream_of_model
from runtime.errors import UsageError
from runtime.models.standing import base_id
from runtime.models.using import PINNED
from runtime.scenario import parse_scenario
from runtime.sessions import all_heads, opened
from telemetry.errors import EventsPruned, InvalidEvent
from telemetry.events import Event, Recorded, Unknown, session, split_id
from telemetry.events.learn import (
    ModelAdopted,
    ModelEvaluated,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    ModelTrained,
)
from telemetry.events.values import Digest, EventId, ModelId
from telemetry.log import EventLog, Head

Said: TypeAlias = ModelTrained | ModelEvaluated | ModelPromoted | ModelRejected | ModelRolledBack
"""What names a model with its digest."""

HOW = {
    "learn.model_promoted": "promoted by",
    "learn.model_rejected": "rejected by",
    "learn.model_rolled_back": "rolled back by",
}
VERDICTS = tuple(HOW)
SAID = ("learn.model_trained", "learn.model_evaluated", *VERDICTS)
ADOPTED = "learn.model_adopted"


class About(NamedTuple):
    """An event that says something of a model."""

    recorded: Recorded
    event: Said


class Acting(NamedTuple):
    """What a session acted by at some moment, and the event since which it did. `base`: the policy that its scenario
    itself describes."""

    model: ModelId
    since: Recorded
    base: bool


def about(
    log: EventLog, model: ModelId, types: Collection[str] = SAID, *, before: int | None = None
) -> Iterator[About]:
    """What the model's stream says of it, newest first, of positions below `before`."""
    for recorded in log.read_back(stream_of_model(model), types=types):
        if before is not None and recorded.position >= before:
            continue
        event = readable(recorded)
        if isinstance(event, Said) and event.model == model:
            yield About(recorded, event)


def readable(recorded: Recorded) -> Event | Unknown | None:
    """The event; None where its payload cannot be read."""
    try:
        return recorded.event
    except InvalidEvent:
        return None


def event_at(log: EventLog, event: EventId) -> Recorded | None:
    """The event of that id, a fork's under its parent's name; None where the stream is not on this log or does not go
    so far. Raises `EventsPruned`."""
    stream, version = split_id(event)
    if log.head(stream) is None and (removed := log.removed(stream)) is not None:
        raise removed.error(log.name)
    return next(log.read(stream, after=version - 1, to=version), None) if version else None


def refs_of(recorded: Recorded) -> tuple[EventId, ...]:
    return tuple(orjson.loads(recorded.refs))


def acting(log: EventLog, stream: str, *, before: int | None = None) -> Acting | None:
    """What the session acted by before that version, or last; None for a stream of no session."""
    for recorded in log.read_back(stream, before=before, types=(ADOPTED, "session.opened")):
        match readable(recorded):
            case session.Opened() as first:
                base = base_of(first)
                model = first.versions.get(PINNED, base)
                return Acting(model, recorded, base=model == base)
            case ModelAdopted(model=None):
                return Acting(base_of(opened(log, stream)), recorded, base=True)
            case ModelAdopted(model=str(model)):
                return Acting(model, recorded, base=False)
    return None


def base_of(first: session.Opened) -> ModelId:
    """The policy of the session's scenario itself, as a model's id."""
    return _base(first.scenario_text, first.scenario_digest)


@lru_cache(maxsize=64)
def _base(text: str, digest: Digest) -> ModelId:
    try:
        return base_id(parse_scenario(text, source="the scenario"))
    except UsageError:  # of a version that says things otherwise
        return f"scenario@{digest[:12]}"


def model_streams(log: EventLog) -> Iterator[str]:
    after = ""
    while page := log.heads(prefix=STREAM, after=after, limit=500):
        yield from (head.stream for head in page)
        after = page[-1].stream


def trainings(log: EventLog) -> Iterator[About]:
    """Every training on the log, model by model, oldest first."""
    for stream in model_streams(log):
        try:
            for recorded in log.read(stream, types=("learn.model_trained",)):
                event = readable(recorded)
                if isinstance(event, ModelTrained):
                    yield About(recorded, event)
        except EventsPruned:
            continue


class Begun(NamedTuple):
    """A session's first event, and where its stream ends."""

    stream: str
    recorded: Recorded
    opened: session.Opened
    last: int
    """Position."""


def begun(log: EventLog, *, since: int = 0) -> Iterator[Begun]:
    """Sessions that went on after position `since` and whose beginning is still there, by name. Costs two look-ups a
    session, however long it is."""
    for head in all_heads(log):
        if head.position > since and (found := begun_at(log, head)) is not None:
            yield found


def begun_at(log: EventLog, head: Head) -> Begun | None:
    """The session at `head`; None where its beginning cannot be read."""
    try:
        recorded = next(log.read(head.stream, to=1), None)
    except EventsPruned:
        return None
    event = None if recorded is None else readable(recorded)
    if recorded is None or not isinstance(event, session.Opened):
        return None
    return Begun(head.stream, recorded, event, head.position)
