"""What episodes came to, read from the log.

Knows which events begin, fill and end an episode; judges nothing. Invariant: an outcome follows from the session's
events alone, so whoever reads them again finds the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

from runtime.learning.judging.verdict import Outcome
from telemetry.events import Event, Recorded, Unknown, learn, reason, sense, session
from telemetry.events.values import EventId
from telemetry.log import EventLog

TYPES = ("session.closed", "sense.surprised", "reason.decided", "learn.rewarded")


class Episode(NamedTuple):
    """`outcome` is None where the session failed before the episode was over: that says nothing of who acted."""

    outcome: Outcome | None
    end: EventId
    """The last event of it, or the one that closed the session."""
    told: bool = True
    """Whether the environment ever said if it was a success."""
    error: str | None = None
    """What the session failed of."""


def episodes(history: Iterable[Recorded], *, budget: int) -> Iterator[Episode]:
    """Those of one session that are over, from its events of TYPES in order. A step is a decision; what takes more of
    them than `budget` is a failure, and so is what the session's own budget cut off."""
    open_ = _Open()
    for recorded in history:
        event = recorded.event
        if isinstance(event, session.Closed) and event.reason == "failed":
            yield Episode(None, recorded.id, open_.told, event.error or "no reason is recorded")
        elif open_.see(event):
            yield Episode(open_.outcome(budget), recorded.id, open_.told)
            open_ = _Open()


@dataclass(slots=True)
class _Open:
    """An episode that is not over."""

    decided: int = 0
    reached: int | None = None
    """The decision that led to the goal, while it is not left again."""
    told: bool = False
    nats: list[float] = field(default_factory=list)

    def see(self, event: Event | Unknown) -> bool:
        """Whether the episode is over with it."""
        match event:
            case sense.Surprised():
                self.nats.append(event.nats)
            case reason.Decided():
                self.decided += 1
            case learn.Rewarded():
                self.told |= event.success is not None
                self.reached = (self.reached or self.decided) if event.success else None
                return event.ends_episode
            case session.Closed():
                return self.decided > 0
        return False

    def outcome(self, budget: int) -> Outcome:
        nats = fmean(self.nats) if self.nats else None
        if self.reached is None or self.reached > budget:
            return Outcome(success=False, steps=budget, nats=nats)
        return Outcome(success=True, steps=self.reached, nats=nats)


def first_episode(log: EventLog, stream: str, *, budget: int) -> Episode | None:
    """Of the session, with the event that closed it for its end; None while it is not closed."""
    closed = next(log.read_back(stream, types=("session.closed",)), None)
    if closed is None:
        return None
    found = next(episodes(log.read(stream, types=TYPES), budget=budget), None)
    if found is None:
        return Episode(None, closed.id, False, "nothing was decided in it")
    return found._replace(end=closed.id)
