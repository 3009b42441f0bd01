"""What rows of later events need of earlier ones: whom a stream concerns, and its open cycle so far.

Knows what is kept; the tellers know what it is kept for. Invariant: it follows from the events since the cycle was
opened, so whoever begins in the middle reads those and has the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from telemetry.query.rows.payloads import Payload

if TYPE_CHECKING:
    from telemetry.events.envelope import Recorded
    from telemetry.log import EventLog

Row: TypeAlias = tuple[object, ...]
Rows: TypeAlias = dict[str, list[Row]]
"""Rows by kind, each in the order of its kind's columns."""

SESSION: Final = "session/"


@dataclass(slots=True)
class Kept:
    """An event with its payload, to be told with a later one."""

    id: str
    version: int
    at: int
    payload: Payload


class Proposal(NamedTuple):
    id: str
    action: str
    """As canonical JSON."""


NO_PROPOSAL: Final = Proposal("", "")


def id_of(kept: Kept | None) -> str | None:
    return None if kept is None else kept.id


@dataclass(slots=True)
class Phase:
    first: Kept
    events: int = 0
    elapsed_ns: int = 0


@dataclass(slots=True)
class Cycle:
    opened: Kept | None = None
    events: int = 0
    elapsed_ns: int = 0
    lead_ns: int = 0
    """What commands took before the first append, which is when the cycle's opening is dated."""
    phases: dict[str, Phase] = field(default_factory=dict)
    observed: Kept | None = None
    text: str | None = None
    """The words of what was observed."""
    surprised: Payload | None = None
    felt: Payload | None = None
    requests: dict[int, Kept] = field(default_factory=dict)
    """By call."""
    answers: list[Kept] = field(default_factory=list)
    """Those that say or ask for something, in their order: proposals are numbered as they are."""
    planned: Kept | None = None
    proposals: dict[int, Proposal] = field(default_factory=dict)
    """By number."""
    inhibited: list[Kept] = field(default_factory=list)
    decided: Kept | None = None
    intents: dict[str, Kept] = field(default_factory=dict)
    """By effect."""
    attempts: dict[str, list[str]] = field(default_factory=dict)
    """Ids of what dispatched it, by effect."""
    approvals: dict[str, Kept] = field(default_factory=dict)
    rewarded: Payload | None = None


class Story:
    """One stream."""

    __slots__ = ("cycle", "primed", "session", "stream", "subject")

    def __init__(self, stream: str, *, subject: str | None) -> None:
        self.stream = stream
        self.session = stream[len(SESSION) :] if stream.startswith(SESSION) else None
        self.subject = subject
        self.cycle = Cycle()
        self.primed = False
        """Whether the open cycle was seen from its beginning."""


class Telling:
    """What a teller is handed: an event, what is known of its stream, and where rows go. One for all events of a fold,
    because one is needed for each."""

    __slots__ = ("event", "log", "now", "rows", "story")

    story: Story
    event: Recorded
    now: Kept
    """The event itself."""

    def __init__(self, log: EventLog, rows: Rows) -> None:
        self.log = log
        self.rows = rows

    def after(self, *ids: str | None) -> tuple[str, ...]:
        """Sources of a row: these events, as far as they are known, then the event itself."""
        return (*(id_ for id_ in ids if id_), self.now.id)

    def tell(self, kind: str, *cells: object, about: Kept | None = None, sources: tuple[str, ...] = ()) -> None:
        """Adds a row. Without `about` it is about the event itself; without `sources` it follows from that alone."""
        story, event = self.story, self.event
        of = self.now if about is None else about
        self.rows[kind].append(
            (
                event.position,
                story.stream,
                story.session,
                of.version,
                event.cycle,
                of.id,
                event.at // 1000,
                story.subject,
                event.mode,
                sources or (self.now.id,),
                *cells,
            )
        )


Teller: TypeAlias = Callable[[Telling, Payload], None]
"""Tells the rows that follow from one more event, and keeps what later ones need of it."""
