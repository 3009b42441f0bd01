"""A session's timeline: its cycles as the spans that follow from their events, a page at a time.

Knows cycles and what was decided in them; knows no terminal. Invariant: a page reads the events of its cycles and no
others, but for where they begin. What was said and done is shown whole: this is for whoever may read the log."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from runtime.errors import NotFound
from runtime.sessions import PREFIX, opened, stream_of
from telemetry.errors import InvalidEvent
from telemetry.events import Recorded, reason
from telemetry.events.values import Action, EventId
from telemetry.log import EventLog
from telemetry.otel.content import Content
from telemetry.otel.ids import trace_id
from telemetry.otel.span import Span
from telemetry.otel.spans import SpanFold

OPENED = "session.cycle_opened"
DECIDED = "reason.decided"


class Cycle(NamedTuple):
    number: int
    stream: str
    """Whose events they are: of a fork, the cycles before it was cut are its ancestors'."""
    decision: EventId | None
    """The event of what was decided last in it."""
    decided: Action | None
    """None where nothing was, or where it cannot be read here."""
    spans: tuple[Span, ...]
    """Its trace, parents before their children; the first is its root."""
    between: tuple[Span, ...]
    """What stands between it and the next cycle: the session rested, was taken up, was reviewed."""


class Page(NamedTuple):
    cycles: tuple[Cycle, ...]
    following: int | None
    """The last of these cycles, where there are more after it."""


def timeline(log: EventLog, session: str, *, after: int = 0, limit: int) -> Page:
    """The first `limit` cycles above `after`; of a session whose beginning was archived and removed, of those that
    stand. Raises `NotFound` for an unknown session, `EventsPruned` for one of which nothing stands."""
    stream = stream_of(session)
    begins = list(islice((one for one in _begins(log, stream) if one.cycle > after), limit + 1))
    shown, more = begins[:limit], begins[limit:]
    to = more[0].version - 1 if more else None
    cycles = _drawn(log, stream, shown, to=to) if shown else ()
    return Page(cycles, shown[-1].cycle if more else None)


def cycle_of(log: EventLog, session: str, number: int) -> Cycle:
    """That cycle. Raises `NotFound` for an unknown session or cycle, `EventsPruned` for one that was removed."""
    stream, last = stream_of(session), 0
    begins = _begins(log, stream)
    for begin in begins:
        if begin.cycle > number and (removed := log.removed(stream)) is not None:
            raise removed.error(log.name)
        if begin.cycle == number:
            following = next(begins, None)
            (cycle,) = _drawn(log, stream, [begin], to=None if following is None else following.version - 1)
            return cycle
        last = begin.cycle
    name = session.removeprefix(PREFIX)
    there = f"it has had {last}" if last else "none of its cycles is on the log"
    raise NotFound(f"there is no cycle {number} in session {name}; {there}. Try: aether trace show {name}")


def _begins(log: EventLog, stream: str) -> Iterator[Recorded]:
    """`session.cycle_opened` of every cycle that stands. Raises `NotFound`, and `EventsPruned` where none does."""
    removed, head = log.removed(stream), log.head(stream)
    if head is None or (removed is not None and head.version == removed.version):
        opened(log, stream)  # raises: there is nothing to begin with
    return log.read(stream, after=0 if removed is None else removed.version, types=(OPENED,))


def _drawn(log: EventLog, stream: str, begins: list[Recorded], *, to: int | None) -> tuple[Cycle, ...]:
    decisions: dict[int, Recorded] = {}

    def events() -> Iterator[Recorded]:
        for recorded in log.read(stream, after=begins[0].version - 1, to=to):
            if recorded.type == DECIDED:
                decisions[recorded.cycle] = recorded
            yield recorded

    fold = SpanFold(log, content=Content(messages=True))
    traces: dict[int, list[Span]] = {trace_id(begin.stream, begin.cycle): [] for begin in begins}
    between: dict[int, list[Span]] = {trace: [] for trace in traces}
    latest = next(iter(traces))
    for span in (*fold.fold(events()), *fold.unfinished(begins[-1].stream)):
        if span.trace_id in traces:
            latest = span.trace_id
            traces[latest].append(span)
        elif span.parent_id is not None:  # of the session's own trace; its root says nothing that the row does not
            between[latest].append(span)
    return tuple(
        Cycle(begin.cycle, begin.stream, *_decided(decisions.get(begin.cycle)), tuple(spans), tuple(between[trace]))
        for begin, (trace, spans) in zip(begins, traces.items(), strict=True)
    )


def _decided(recorded: Recorded | None) -> tuple[EventId | None, Action | None]:
    if recorded is None:
        return None, None
    try:
        event = recorded.event
    except InvalidEvent:  # withheld, erased or damaged: the root says how many of its events cannot be read
        return recorded.id, None
    return recorded.id, event.action if isinstance(event, reason.Decided) else None
