"""Effects: intent first, an honest outcome after.

`effect` is the effect's key, the same on every attempt; see `loops.effects`. `ordinal` is its place among those
of its decision."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from telemetry.events.event import Event
from telemetry.events.values import Action, Digest, EffectClass, ToolResult


class Intended(Event):
    """The effect will be attempted. On disk before anything is dispatched."""

    type: Literal["execute.intended"] = "execute.intended"
    effect: Digest
    action: Action
    arguments: Digest
    effect_class: EffectClass
    proposal: int | None = None
    ordinal: int = 0
    """Place of the effect among those of its decision."""


class Dispatched(Event):
    """The effect was handed to `executor`, and nothing is sent nor an answer awaited after `deadline` (UTC, ns)."""

    type: Literal["execute.dispatched"] = "execute.dispatched"
    effect: Digest
    ordinal: int = 0
    executor: str
    """The process that makes the attempt, so that its life can be checked: `machine:place:started[:node]/pid`."""
    deadline: int


class Succeeded(Event):
    """The effect happened. A simulator's observation is recorded when it is sensed; here stands its digest."""

    type: Literal["execute.succeeded"] = "execute.succeeded"
    effect: Digest
    ordinal: int = 0
    result: ToolResult | None = None
    observed: Digest | None = None
    reward: float | None = None
    terminated: bool = False
    truncated: bool = False
    success: bool | None = None
    """The environment's own word on whether its goal is reached; None where it has none."""


class Failed(Event):
    """The effect was attempted and did not happen, as its target says."""

    type: Literal["execute.failed"] = "execute.failed"
    effect: Digest
    ordinal: int = 0
    kind: Literal["raised", "timeout", "invalid", "lost"]
    """invalid: it answered NaN or left its declared space; lost: its executor died and nothing can be re-run."""
    error: str


class UnknownOutcome(Event):
    """Whether the effect happened cannot be known; nobody pretends otherwise."""

    type: Literal["execute.unknown"] = "execute.unknown"
    effect: Digest
    ordinal: int = 0
    why: str


class Reconciled(Event):
    """Somebody found out what became of an unknown effect."""

    type: Literal["execute.reconciled"] = "execute.reconciled"
    effect: Digest
    cycle: int = Field(ge=1)
    """The cycle it was intended in."""
    ordinal: int = 0
    happened: bool
    by: str
    why: str
    result: ToolResult | None = None


class Cancelled(Event):
    """It was given up before anything was dispatched: a person said no, or did not answer in time."""

    type: Literal["execute.cancelled"] = "execute.cancelled"
    effect: Digest
    ordinal: int = 0
    why: str


class ApprovalAsked(Event):
    """A person is asked to allow exactly these arguments."""

    type: Literal["execute.approval_asked"] = "execute.approval_asked"
    effect: Digest
    ordinal: int = 0
    action: Action
    arguments: Digest
    why: str
    until: int | None = None
    """UTC ns after which the answer is no; None waits for ever."""


class ApprovalGiven(Event):
    """A person's answer, bound to the digest of the arguments it was given for."""

    type: Literal["execute.approval_given"] = "execute.approval_given"
    effect: Digest
    ordinal: int = 0
    arguments: Digest
    granted: bool
    by: str
    why: str = ""
