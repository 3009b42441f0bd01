"""Events into rows.

Knows which teller tells of which event and what to read back; each teller knows its kinds. Invariant: equal events give
equal rows, wherever a fold begins and however its events are cut into batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import orjson

from telemetry.errors import InvalidEvent
from telemetry.events.envelope import Recorded
from telemetry.log import EventLog
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.payloads import body_of, payload_of
from telemetry.query.rows.story import Cycle, Kept, Phase, Row, Rows, Story, Teller, Telling
from telemetry.query.rows.tell_deeds import DEEDS
from telemetry.query.rows.tell_life import LIFE, opening
from telemetry.query.rows.tell_senses import SENSES
from telemetry.query.rows.tell_thought import THOUGHT

TELLERS: Final[Mapping[str, Teller]] = {**LIFE, **SENSES, **THOUGHT, **DEEDS}

PHASES: Final = frozenset({"sense", "feel", "reason", "execute", "learn"})

MAX_STORIES: Final = 4_096
"""Streams that are kept in mind; with more, all are read back as they go on."""

_BEGINNINGS: Final = ("session.opened", "session.forked")
_OPENED: Final = "session.cycle_opened"
_BEFORE: Final = ("session.cycle_closed", *_BEGINNINGS)
"""What stands before a cycle is opened."""


class Fold:
    """Rows of `kinds` from the events of `log`, handed over in the order of their positions. It may begin anywhere:
    what it needs of a stream's earlier events it reads back."""

    def __init__(self, log: EventLog, *, kinds: Collection[str] = KINDS) -> None:
        self._log = log
        self._stories: dict[str, Story] = {}
        self._kinds = kinds
        self._rows: Rows = {}
        self._telling = Telling(log, self._rows)
        self._begin()

    def add(self, events: Iterable[Recorded]) -> None:
        """Raises `InvalidEvent` for a payload that is not of its type, with no row of that event made."""
        for event in events:
            story = self._stories.get(event.stream)
            if story is None:
                story = self._story(event)
            if not story.primed and event.cycle > 0 and story.session is not None:
                self._prime(story, event)
            self._tell(story, event, self._telling)

    def take(self) -> Rows:
        """The rows since it was asked last, by kind and in order."""
        taken = {kind: rows for kind, rows in self._rows.items() if kind in self._kinds}
        self._begin()
        return taken

    def _begin(self) -> None:
        self._rows = {kind: [] for kind in KINDS}
        self._telling.rows = self._rows

    def _story(self, event: Recorded) -> Story:
        if len(self._stories) >= MAX_STORIES:
            self._stories.clear()
        story = Story(event.stream, subject=None)
        if story.session is not None and event.type not in _BEGINNINGS:
            story.subject = opening(self._log, event.stream)[1].get("person")
        self._stories[event.stream] = story
        return story

    def _prime(self, story: Story, event: Recorded) -> None:
        """Sees what stands of the open cycle before `event`; the rows of it were made by whoever saw it then."""
        story.primed = True
        if event.type == _OPENED:
            return
        story.cycle = Cycle()
        before: list[Recorded] = []
        for earlier in self._log.read_back(story.stream, before=event.version):
            if earlier.type in _BEFORE:
                break
            before.append(earlier)
            if earlier.type == _OPENED:
                break
        aside = Telling(self._log, {kind: [] for kind in KINDS})
        for earlier in reversed(before):
            self._tell(story, earlier, aside)

    def _tell(self, story: Story, event: Recorded, telling: Telling) -> None:
        body = body_of(event)
        telling.story, telling.event = story, event
        id_, cycle, kind = f"{story.stream}@{event.version}", story.cycle, event.type
        try:
            payload = None if body is None else payload_of(event, body)
            telling.now = now = Kept(id_, event.version, event.at, payload or {})
            if kind == _OPENED:
                story.cycle = cycle = Cycle()
            cycle.events += 1
            _account(cycle, event, now)
            teller = TELLERS.get(kind)
            if teller is not None and payload is not None:
                teller(telling, payload)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidEvent(
                f"event {id_} is not a {kind} of schema {event.schema}: {error!r}. Rows of the events before it are "
                "whole. Try: aether log verify"
            ) from error
        telling.rows["events"].append(_row(story, event, id_, body))
        if story.session is None:
            story.subject = None


def _row(story: Story, event: Recorded, id_: str, body: bytes | None) -> Row:
    """The event itself."""
    return (
        event.position,
        event.stream,
        story.session,
        event.version,
        event.cycle,
        id_,
        event.at // 1000,
        story.subject,
        event.mode,
        event.type,
        event.schema,
        event.phase,
        event.command,
        event.ordinal,
        event.elapsed_ns,
        event.epoch,
        event.cause or None,
        () if event.refs == "[]" else orjson.loads(event.refs),
        () if event.keys == "[]" else orjson.loads(event.keys),
        event.encoding,
        None if body is None else body.decode(),
    )


def _account(cycle: Cycle, event: Recorded, now: Kept) -> None:
    """What the event took of its cycle's time, and of its phase's."""
    elapsed_ns, phase = event.elapsed_ns, event.phase
    cycle.elapsed_ns += elapsed_ns
    if cycle.opened is not None and event.at == cycle.opened.at:
        cycle.lead_ns += elapsed_ns
    if phase in PHASES:
        found = cycle.phases.get(phase)
        if found is None:
            found = cycle.phases[phase] = Phase(now)
        found.events += 1
        found.elapsed_ns += elapsed_ns
