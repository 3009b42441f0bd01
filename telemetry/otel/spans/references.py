"""Which span an event of the log is found in, so that what rests on it can link to it.

Knows ids and where cycles stand; remembers what went by lately and asks the log for the rest. Invariant: what it says
of an event follows from the event, so a folder that saw it and one that did not link alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, Protocol, TypeAlias, TypeVar

from telemetry.errors import EventsPruned, InvalidEvent, LogDamaged, StreamNotFound
from telemetry.events import Recorded
from telemetry.events.envelope import split_id
from telemetry.log.lineage import Origin
from telemetry.otel.ids import cycle_span_id, span_id, trace_id

MOST_REMEMBERED: Final = 65_536
"""Events that are looked up without the log: the episodes that recall returns lie mostly among the latest."""

GONE: Final = (EventsPruned, StreamNotFound, LogDamaged)
"""What a log says of events that cannot be read any more; what rests on them then has no link."""

SESSION: Final = "session/"

BEGIN_A_SPAN: Final = frozenset(
    {
        "sense.recalled",
        "reason.requested",
        "reason.planned",
        "execute.intended",
        "execute.approval_asked",
        "learn.remembered",
        "learn.forgotten",
    }
)
"""Types whose events, within a cycle, begin a span of their own below that of their phase."""

REFERRED_TO: Final = frozenset({"learn.remembered", "reason.predicted", "reason.decided"})
"""What later cycles rest on."""

T = TypeVar("T")
Target: TypeAlias = tuple[int, int]
"""Trace and span."""
Place: TypeAlias = tuple[str, int, int, str]
"""Stream, version, cycle and type of an event."""


class History(Protocol):
    """What is read back of the log; an `EventLog` is one."""

    def read(
        self, stream: str, *, after: int = 0, to: int | None = None, types: Collection[str] = ()
    ) -> Iterator[Recorded]: ...

    def read_back(
        self, stream: str, *, before: int | None = None, types: Collection[str] = ()
    ) -> Iterator[Recorded]: ...

    def origin(self, stream: str) -> Origin | None: ...


class References:
    """Where events are found. Not for several threads."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._places: dict[str, Place] = {}
        """Of events that went by; where they are found is worked out for those that are asked for."""
        self._found: dict[str, Target | None] = {}

    def saw(self, event: Recorded) -> None:
        """An event of REFERRED_TO went by within a cycle."""
        _keep(self._places, event.id, (event.stream, event.version, event.cycle, event.type))

    def target(self, event_id: str) -> Target | None:
        """The span that begins with the event, or the root of what it stands in. None where it cannot be read, or
        where it is no event's id."""
        try:
            return self._found[event_id]
        except KeyError:
            place = self._places.get(event_id) or self._look_up(event_id)
            found = None if place is None else home(*place)
            _keep(self._found, event_id, found)
            return found

    def _look_up(self, event_id: str) -> Place | None:
        try:
            stream, version = split_id(event_id)
            event = next(self._history.read(stream, after=version - 1, to=version), None)
        except (InvalidEvent, *GONE):
            return None
        return None if event is None else (event.stream, event.version, event.cycle, event.type)


def _keep(among: dict[str, T], event_id: str, what: T) -> None:
    if len(among) >= MOST_REMEMBERED:
        del among[next(iter(among))]
    among[event_id] = what


def home(stream: str, version: int, cycle: int, kind: str) -> Target:
    """The span that an event of that type begins, or the root of its trace."""
    if not stream.startswith(SESSION):
        return trace_id(stream, version), cycle_span_id(stream, version)
    if cycle == 0:
        return session_of(stream)
    begins = kind in BEGIN_A_SPAN
    return trace_id(stream, cycle), span_id(stream, version) if begins else cycle_span_id(stream, cycle)


def session_of(stream: str) -> Target:
    """The root of what stands in no cycle of the session."""
    return trace_id(stream, 0), cycle_span_id(stream, 0)
