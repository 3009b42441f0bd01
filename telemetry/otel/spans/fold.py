"""Events in, finished spans out.

Knows streams and keeps what is open of each; the shapes of traces are elsewhere. Invariant: equal events give equal
spans, however they are cut into batches and wherever a folder begins to look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from telemetry.events import Recorded
from telemetry.otel.content import Content
from telemetry.otel.ids import trace_id
from telemetry.otel.span import Span
from telemetry.otel.spans.drawing import Tools
from telemetry.otel.spans.messages import Messages
from telemetry.otel.spans.references import GONE, SESSION, History, References
from telemetry.otel.spans.sessions import CYCLE_CLOSED, Session, met
from telemetry.otel.spans.traces import event_spans
from telemetry.otel.spans.trainings import Trainings

MOST_SESSIONS: Final = 10_000
"""Whose open cycles are kept at once; of others they are read back when their next event comes."""


class SpanFold:
    """Takes events of all streams in order of position; gives the spans that they complete. Not for several threads.

    What it did not see it reads back from `history`, so it may begin anywhere; and what of more than `room` sessions
    it cannot keep."""

    def __init__(self, history: History, *, content: Content = Content(), room: int = MOST_SESSIONS) -> None:
        self._history = history
        self._room = room
        self._tools = Tools(content, References(history), Messages(history))
        self._sessions: dict[str, Session] = {}
        self._trainings = Trainings(history, self._tools)

    def fold(self, events: Iterable[Recorded]) -> list[Span]:
        """The spans that these events complete; a trace's root before its other spans."""
        spans: list[Span] = []
        sessions = self._sessions
        for event in events:
            stream = event.stream
            session = sessions.get(stream)
            if session is None:
                if not stream.startswith(SESSION):
                    spans += self._alone(event)
                    continue
                session = self._meet(event)
            found = session.see(event)
            if found:
                spans += found
                if session.closed:
                    del sessions[stream]
        return spans

    def unfinished(self, stream: str) -> list[Span]:
        """What is open of the stream as of its last event, marked `aetherloop.unfinished`."""
        session = self._sessions.get(stream)
        return self._trainings.unfinished(stream) if session is None else session.unfinished(stream)

    def _meet(self, event: Recorded) -> Session:
        if len(self._sessions) >= self._room:
            del self._sessions[next(iter(self._sessions))]
        session = met(event, self._history, self._tools)
        self._sessions[event.stream] = session
        return session

    def _alone(self, event: Recorded) -> list[Span]:
        if self._trainings.holds(event):
            return self._trainings.see(event)
        return event_spans(event, tools=self._tools)


def session_spans(
    log: History, stream: str, *, cycle: int | None = None, content: Content = Content(), unfinished: bool = True
) -> Iterator[Span]:
    """The spans of a session's own events in order of its cycles, or those of one cycle; what is open too, unless
    `unfinished` is false. Cycle 0 is what stands in none. Nothing for a session or a cycle that is not there."""
    fold = SpanFold(log, content=content)
    start = _before(log, stream) if not cycle else _before_cycle(log, stream, cycle)
    if start is None:
        return
    trace = None if cycle is None else trace_id(stream, cycle)
    for event in log.read(stream, after=start):
        found = fold.fold((event,))
        yield from (span for span in found if trace is None or span.trace_id == trace)
        if cycle and event.type == CYCLE_CLOSED:
            return
    if unfinished:
        yield from (span for span in fold.unfinished(stream) if trace is None or span.trace_id == trace)


def _before(log: History, stream: str) -> int:
    """The version before the stream's own first event."""
    origin = log.origin(stream)
    return 0 if origin is None else origin.at_version


def _before_cycle(log: History, stream: str, cycle: int) -> int | None:
    """The version before the stream's first event of that cycle, found by halving: cycles never fall."""
    low = _before(log, stream)
    last = next(log.read_back(stream), None)
    if last is None or last.cycle < cycle:
        return None
    high = last.version
    while high - low > 1:
        middle = (low + high) // 2
        if _cycle_at(log, stream, middle) < cycle:
            low = middle
        else:
            high = middle
    return high - 1 if _cycle_at(log, stream, high) == cycle else None


def _cycle_at(log: History, stream: str, version: int) -> int:
    """-1 where the event was archived and removed, which the earliest are first."""
    try:
        event = next(log.read(stream, after=version - 1, to=version), None)
    except GONE:
        return -1
    return -1 if event is None else event.cycle
