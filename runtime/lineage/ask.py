"""What somebody means by an id, and the walk from there.

Knows every kind of id that a walk prints. Invariant: each of them opens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from runtime.entry import STREAM, stream_of_model
from runtime.errors import NotFound
from runtime.explain import nearest
from runtime.lineage.back import Back
from runtime.lineage.base import base_of_log
from runtime.lineage.forward import Forward
from runtime.lineage.records import SAID, About, Said, event_at, model_streams, readable
from runtime.lineage.values import Node, Shelf
from runtime.lineage.words import told
from runtime.models.registry.succession import succession
from runtime.sessions import PREFIX
from telemetry.events import Recorded
from telemetry.events.envelope import unreadable
from telemetry.events.learn import ModelTrained
from telemetry.events.values import ModelId
from telemetry.log import EventLog

KNOWN = 1000
"""Names that the nearest is looked for among."""


class Asked(NamedTuple):
    """One of them."""

    event: Recorded | None = None
    session: str | None = None
    model: ModelId | None = None


def walk(log: EventLog, what: str, *, shelf: Shelf, limit: int, forward: bool = False) -> Node:
    """The chain from what is named. Raises `NotFound` with the nearest for what is not there, and `EventsPruned`."""
    asked = meant(log, what, shelf=shelf)
    return _forward(log, asked, shelf, limit) if forward else _back(log, asked, shelf, limit)


def walk_model(log: EventLog, which: str, *, shelf: Shelf, limit: int, forward: bool = False) -> Node:
    """As `walk`, where a model is named: `NAME` is the one that stands, or was spoken of last."""
    model = meant_model(log, which, shelf=shelf)
    asked = Asked(model=model)
    return _forward(log, asked, shelf, limit) if forward else _back(log, asked, shelf, limit)


def meant(log: EventLog, what: str, *, shelf: Shelf) -> Asked:
    """Raises `NotFound` with the nearest, and `EventsPruned` for an event that was archived and removed."""
    name, at, version = what.rpartition("@")
    if at and version.isdigit():
        stream = name if "/" in name else PREFIX + name
        event = event_at(log, f"{stream}@{version}")
        if event is not None:
            return Asked(event=event)
        if (head := log.head(stream)) is not None:
            raise NotFound(f"there is no event {what} in {log.name}; the last of {stream} is {stream}@{head.version}")
    if "/" not in what and (at or log.head(STREAM + what) is not None):
        return Asked(model=meant_model(log, what, shelf=shelf))
    stream = what if "/" in what else PREFIX + what
    if stream.startswith(PREFIX) and log.head(stream) is not None:
        return Asked(session=stream)
    if stream.startswith(STREAM) and log.head(stream) is not None:
        return Asked(model=meant_model(log, stream.removeprefix(STREAM), shelf=shelf))
    raise _unknown(log, what)


def meant_model(log: EventLog, which: str, *, shelf: Shelf) -> ModelId:
    """The model `NAME@DIGEST`, with the digest's first digits at least; of a `NAME` alone the one that stands, or
    that its stream spoke of last. Raises `NotFound` with the nearest, `PayloadWithheld` where that cannot be known."""
    name, at, digest = which.partition("@")
    spoken = dict.fromkeys(event.model for event in _said(log, stream_of_model(name)))
    if not at and spoken:
        standing = succession(log, name).standing
        return standing if standing in spoken else next(iter(spoken))
    matching = [model for model in spoken if digest and model.startswith(which)]
    if len(matching) == 1:
        return matching[0]
    if not matching and (kept := shelf(which)) is not None:
        return kept.model
    if not matching and at and base_of_log(log, which, limit=1) is not None:
        return which
    if not matching:
        _check_said(log, stream_of_model(name))
    known = [*spoken, *(stream.removeprefix(STREAM) for stream in model_streams(log))]
    hint = nearest(which, matching or known) if known else "; it speaks of no model yet"
    raise NotFound(f"{'several models are' if matching else 'there is no model'} {which!r} in {log.name}{hint}")


def _said(log: EventLog, stream: str) -> Iterator[Said]:
    for recorded in log.read_back(stream, types=SAID):
        event = readable(recorded)
        if isinstance(event, Said):
            yield event


def _check_said(log: EventLog, stream: str) -> None:
    """Raises `PayloadWithheld` where what it says of models is, so that nobody knows which there are."""
    for recorded in log.read_back(stream, types=SAID):
        if recorded.withheld:
            raise unreadable(recorded.id, recorded.encoding)


def _unknown(log: EventLog, what: str) -> NotFound:
    heads = [*log.heads(prefix=PREFIX, limit=KNOWN), *log.heads(prefix=STREAM, limit=KNOWN)]
    known = [head.stream if "/" in what else head.stream.partition("/")[2] for head in heads]
    hint = nearest(what.rpartition("@")[0] or what, known) if known else "; it is empty"
    return NotFound(f"there is no event, session or model {what!r} in {log.name}{hint}")


def _back(log: EventLog, asked: Asked, shelf: Shelf, limit: int) -> Node:
    back = Back(log, shelf, limit)
    if asked.event is not None:
        return back.of_event(asked.event)
    if asked.session is not None:
        return back.of_session(asked.session)
    assert asked.model is not None, "one of them"
    spoken = log.head(stream_of_model(asked.model)) is not None
    return (None if spoken else base_of_log(log, asked.model, limit=limit)) or back.of_model(asked.model)


def _forward(log: EventLog, asked: Asked, shelf: Shelf, limit: int) -> Node:
    forward = Forward(log, shelf, limit)
    if asked.session is not None:
        return forward.of_session(asked.session)
    if asked.event is None:
        assert asked.model is not None, "one of them"
        return forward.of_model(asked.model)
    event = readable(asked.event)
    if isinstance(event, ModelTrained):
        return forward.of_training(About(asked.event, event))
    if isinstance(event, Said):
        return forward.of_model(event.model)
    if asked.event.stream.startswith(PREFIX):
        return forward.of_session(asked.event.stream, event=asked.event)
    return Node(asked.event.id, "event", f"{told(asked.event, event)}; nothing learns from it")
