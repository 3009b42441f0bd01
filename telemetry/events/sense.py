"""What was perceived, remembered on perceiving it, and found surprising."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from telemetry.events.event import Event
from telemetry.events.values import Digest, EventId, Goal, Hit, ModelId, Observation


class Observed(Event):
    """What the agent perceived at the start of a cycle.

    `of` names outcomes that are perceived and already on the log, so their content is not repeated."""

    type: Literal["sense.observed"] = "sense.observed"
    observations: tuple[Observation, ...] = ()
    of: tuple[EventId, ...] = ()
    goal: Goal | None = None
    digest: Digest
    """Of the observations and the goal."""
    episode: int = Field(default=0, ge=0)
    step: int = Field(default=0, ge=0)
    """Actions taken in this episode before this observation; 0 is the observation after a reset."""
    ends_episode: bool = False
    """Nothing can be done after this observation but to learn from it."""


class Recalled(Event):
    """The nearest remembered episodes, best first, as of the pinned version of each stream of the lineage."""

    type: Literal["sense.recalled"] = "sense.recalled"
    embedder: ModelId
    query: Digest
    k: int = Field(ge=1)
    hits: tuple[Hit, ...] = ()


class Surprised(Event):
    """How far the last prediction was off."""

    type: Literal["sense.surprised"] = "sense.surprised"
    error: float = Field(ge=0)
    """Root mean squared error over the dimensions, in observation units."""
    nats: float
    """Negative log-likelihood of what was seen under the prediction, per dimension."""
    percentile: float = Field(ge=0, le=1)
    """Share of the session's recent surprises that were not above this one."""
    model: ModelId


class ContextCompacted(Event):
    """Older context was replaced by a shorter form to stay within a budget."""

    type: Literal["sense.context_compacted"] = "sense.context_compacted"
    policy: str
    before_tokens: int = Field(ge=0)
    after_tokens: int = Field(ge=0)
    dropped: tuple[EventId, ...] = ()
    summary: str = ""
