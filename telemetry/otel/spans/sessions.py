"""A session as its events go by: the cycle that is open, and what was before it.

Knows where cycles begin and end; reads back what went by before it looked. Invariant: where it begins to look changes
no span."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telemetry.errors import InvalidEvent
from telemetry.events import Recorded
from telemetry.log.lineage import FORKED
from telemetry.otel.span import Span
from telemetry.otel.spans.about import About, about
from telemetry.otel.spans.drawing import Tools
from telemetry.otel.spans.references import GONE, History
from telemetry.otel.spans.traces import between_spans, cycle_spans, session_span

OPENED: Final = "session.opened"
CLOSED: Final = "session.closed"
CYCLE_OPENED: Final = "session.cycle_opened"
CYCLE_CLOSED: Final = "session.cycle_closed"

BOUNDARIES: Final = frozenset({OPENED, FORKED, CLOSED, CYCLE_OPENED, CYCLE_CLOSED})


class Session:
    """One stream. `see` its events in order."""

    __slots__ = ("_about", "_at", "_before", "_closed", "_cycle", "_floor", "_forked", "_tools")

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._about = About()
        self._cycle: list[Recorded] = []
        """The events of the open cycle."""
        self._floor = 0
        """`at` of the append before it."""
        self._at = self._before = 0
        """`at` of the latest append, and of the one before."""
        self._forked = False
        """Whether no cycle began since the fork was cut."""
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def see(self, event: Recorded) -> list[Span]:
        """The spans that the event completes."""
        if event.at != self._at:
            self._before, self._at = self._at, event.at
        kind = event.type
        if self._cycle:
            if kind == CYCLE_OPENED:  # the one before never ends
                return [*self._cut(), *self._begin(event)]
            self._cycle.append(event)
            if kind == CYCLE_CLOSED:
                return self._cut()
            return self._close(event) if kind == CLOSED else []
        match kind:
            case "session.cycle_opened":
                return self._begin(event)
            case "session.closed":
                return self._close(event)
            case "session.cycle_closed":
                return []  # its beginning is gone
            case "session.opened":
                self._about = about(event)
                return []
            case "session.forked":
                self._forked = True
                return []
        return between_spans(event, about=self._about, tools=self._tools, floor=self._before, after_end=self._closed)

    def know(self, what: About) -> None:
        """What the session is, where its opening was not seen."""
        self._about = what

    def resume(self, tail: Sequence[Recorded], before: int) -> None:
        """Takes up after `tail`, whose spans went out; `before` is `at` of the append before it."""
        self._at = before
        for event in tail:
            if event.at != self._at:
                self._before, self._at = self._at, event.at
            if event.type == CYCLE_OPENED:
                self._begin(event)
            elif self._cycle:
                self._cycle.append(event)
            self._forked = self._forked or event.type == FORKED
            self._closed = self._closed or event.type == CLOSED

    def unfinished(self, stream: str) -> list[Span]:
        """What is open, as of the last event."""
        if self._closed or not self._at:
            return []
        spans = self._spans(unfinished=True) if self._cycle else []
        return [*spans, session_span(stream, self._about, self._tools, until=self._at, closed=None)]

    def _begin(self, event: Recorded) -> list[Span]:
        self._cycle, self._floor = [event], self._before
        return []

    def _close(self, event: Recorded) -> list[Span]:
        spans = self._cut() if self._cycle else []
        self._closed = True
        return [*spans, session_span(event.stream, self._about, self._tools, until=event.at, closed=event)]

    def _cut(self) -> list[Span]:
        spans = self._spans(unfinished=self._cycle[-1].type != CYCLE_CLOSED)
        self._cycle, self._forked = [], False
        return spans

    def _spans(self, *, unfinished: bool) -> list[Span]:
        return cycle_spans(
            self._cycle,
            about=self._about,
            tools=self._tools,
            floor=self._floor,
            forked=self._forked,
            unfinished=unfinished,
        )


def met(event: Recorded, history: History, tools: Tools) -> Session:
    """The session as it is before `event`, read back from the log as far as its spans ask for it."""
    session = Session(tools)
    if event.type == OPENED:
        return session
    session.know(_about(event, history))
    if event.type != FORKED:
        tail, before = _tail(event, history)
        session.resume(tail, before)
    return session


def _tail(event: Recorded, history: History) -> tuple[list[Recorded], int]:
    """What stands before `event` from the boundary on that its cycle began after, or that the cycle before it ended
    with; and `at` of the append before that."""
    tail: list[Recorded] = []
    begun, last = False, None
    try:
        for earlier in history.read_back(event.stream, before=event.version):
            if earlier.stream != event.stream:
                break  # a fork's parent
            if last is not None:
                if earlier.at != last.at:
                    return tail[::-1], earlier.at
                continue
            tail.append(earlier)
            if earlier.type in BOUNDARIES and (begun or earlier.type != CYCLE_OPENED):
                last = earlier
            begun = begun or earlier.type == CYCLE_OPENED
    except GONE:
        pass  # the first of them were archived and removed: what is left is all there is
    return tail[::-1], 0


def _about(event: Recorded, history: History) -> About:
    stream = event.stream
    try:
        forked = event if event.type == FORKED else None
        if forked is None and (cut := history.origin(stream)) is not None:
            forked = next(history.read(stream, after=cut.at_version, to=cut.at_version + 1), None)
        opened = next(history.read(stream, to=1), None)
    except (InvalidEvent, *GONE):  # withheld, or archived and removed
        return About()
    return About() if opened is None or opened.type != OPENED else about(opened, forked=forked)
