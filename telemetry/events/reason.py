"""What was proposed, expected and decided, and what was asked of models on the way."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from telemetry.events.event import Event
from telemetry.events.values import (
    Action,
    Array,
    Digest,
    EventId,
    ModelId,
    Option,
    Persistence,
    ToolCall,
    Usage,
    Weighed,
)


class Requested(Event):
    """A model was asked. The prompt is rebuilt from the log; its digest shows that it was the same."""

    type: Literal["reason.requested"] = "reason.requested"
    call: int = Field(default=0, ge=0)
    """Place of this request among those of its cycle."""
    specialist: str = ""
    """Who of several reasoners asks; empty where there is one."""
    endpoint: str
    model: str
    parameters: dict[str, JsonValue] = {}
    seed: int | None = None
    prompt: Digest
    context: tuple[EventId, ...] = ()
    """The events that the prompt was built from."""
    why: str = ""
    """Why this endpoint, where a router chose it."""


class Answered(Event):
    """A model answered."""

    type: Literal["reason.answered"] = "reason.answered"
    call: int = Field(default=0, ge=0)
    """The request it answers."""
    choice: int = Field(default=0, ge=0)
    """Place among several answers to one request."""
    model: str
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: str
    usage: Usage = Usage()
    tokens: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None


class Unanswered(Event):
    """A model was asked and gave no whole answer; what it cost is in `usage` as far as it is known."""

    type: Literal["reason.unanswered"] = "reason.unanswered"
    call: int = Field(default=0, ge=0)
    endpoint: str
    model: str
    kind: Literal["unreachable", "timeout", "rate_limited", "server_error", "refused", "cut", "invalid", "cancelled"]
    """refused: an error of the request (4xx); cut: the stream ended early; invalid: no answer of the protocol."""
    status: int | None = None
    """The last HTTP status, where there was one."""
    attempts: int = Field(default=1, ge=1)
    error: str
    text: str = ""
    """What had come before the stream was cut."""
    usage: Usage = Usage()


class Planned(Event):
    """Courses of action were weighed by what the world model foresees of each; the best go on to be proposed."""

    type: Literal["reason.planned"] = "reason.planned"
    model: ModelId
    belief: Digest
    """Of what was planned from: the encoding of the latest observations of the episode."""
    options: tuple[Weighed, ...] = ()
    latent: Array | None = None
    """float32, shape (Z,): what the model expects to believe once the first option is done."""
    goal: Array | None = None
    """float32, shape (G,): where that is in goal space, in its own units; None where there are no goals."""


class Proposed(Event):
    """One thing that could be done. The lower `score`, the better the reasoner thinks of it."""

    type: Literal["reason.proposed"] = "reason.proposed"
    proposal: int = Field(ge=0)
    action: Action
    arguments: Digest
    score: float | None = None
    why: str = ""


class Predicted(Event):
    """What the world model expects to be observed after the chosen action."""

    type: Literal["reason.predicted"] = "reason.predicted"
    proposal: int
    mean: Array
    """float32, shape (D,): the numeric observations flattened, then the achieved goal, in their own units."""
    variance: Array
    """float32, shape (D,), > 0."""
    model: ModelId


class Decided(Event):
    """The reasoner's choice among what was allowed. `persist` is an action it means to keep."""

    type: Literal["reason.decided"] = "reason.decided"
    proposal: int | None = None
    """None when the choice is to wait because nothing was allowed."""
    action: Action
    arguments: Digest
    options: tuple[Option, ...] = ()
    why: str
    persist: Persistence | None = None
