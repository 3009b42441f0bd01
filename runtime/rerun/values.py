"""What a rerun reports. Knows figures and their names; reads no log."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from telemetry.events.values import EventId

Kind = Literal["same", "allowed", "refused", "asked", "otherwise", "not_comparable"]
"""What the policy's decision is beside the recorded one, each cycle one of these:

same            the same is done, so what came of it is on the log
allowed         it does what was held back then, by the heart or by a person
refused         its heart holds back what was decided then
asked           it does the same, but a person is asked first, and no answer is on the log
otherwise       it chooses something else that was, or would have been, allowed
not_comparable  a model's answer or an event's content is missing, so what it would decide is not known"""

KINDS: tuple[Kind, ...] = ("same", "allowed", "refused", "asked", "otherwise", "not_comparable")


class Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Difference(Told):
    """A cycle that the record does not cover. `event` is the recorded decision."""

    cycle: int
    event: EventId
    kind: Kind
    why: str


class Counts(Told):
    """Cycles by what became of them: `cycles` are those in which something was decided."""

    cycles: int = 0
    same: int = 0
    allowed: int = 0
    refused: int = 0
    asked: int = 0
    otherwise: int = 0
    not_comparable: int = 0

    @property
    def share(self) -> float | None:
        """The share of the cycles that the record covers."""
        return self.same / self.cycles if self.cycles else None


class Surprise(Told):
    """Means over `transitions` that both predicted, or that the one did where the other predicts nothing.

    Nats are per dimension; `error` is the root mean squared error of each, in observation units."""

    transitions: int
    recorded_nats: float | None
    policy_nats: float | None
    recorded_error: float | None
    policy_error: float | None


class SessionRerun(Told):
    """One session beside the policy. Cycles that it shares with sessions it was forked from are among its own."""

    session: str
    scenario: str
    cycles: int
    covered: int
    """Cycles in which the policy, put in the recorded situation, does what was done."""
    share: float | None
    covered_before_first: int
    """Those before the first that is not covered: so far the policy would have lived what is recorded."""
    share_before_first: float | None
    identical: int
    """Covered cycles whose decision is the recorded one in every field: options, scores, words."""
    counts: Counts
    first: Difference | None = None
    differences: tuple[Difference, ...] = ()
    """The first of them."""
    differences_left_out: int = Field(default=0, ge=0)
    surprise: Surprise | None = None


class RerunReport(Told):
    """`total` and `surprise` count each recorded decision once, however many of the sessions share it."""

    policy: dict[str, str]
    """What was replaced by what, as it was given; nothing for the policy of the record."""
    sessions: tuple[SessionRerun, ...]
    total: Counts
    surprise: Surprise | None = None
    left_out: tuple[str, ...] = ()
    """Sessions that nothing here reasoned for: their agents run elsewhere, and a gateway watched them."""
    as_of: int
    """Position of the log's last event when it was read."""
