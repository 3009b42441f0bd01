"""What one session's cycles run on: its journal, its phases, its clock, and the people it talks with."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from loops.context import Context
from loops.journal import Journal
from loops.percept import Percept
from loops.ports import PhaseRunner, Recall
from telemetry.events import execute
from telemetry.events.values import Action, Digest, EffectClass, Observation


@dataclass(frozen=True, slots=True)
class Conversation:
    """The people of a session, which reasons by asking models."""

    take: Callable[[], Sequence[Observation]]
    """What was said since it was last called; each thing once."""
    kept: Callable[[], None]
    """Called when what was taken is on disk."""
    say: Callable[[Digest, Action], Awaitable[None]]
    """Shows what the agent says under its effect's key; the same key again shows it once."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """`owner` names who writes the journal, `executor` who attempts moves and calls now, `limit_ns` how long each may
    take."""

    journal: Journal
    phases: PhaseRunner
    recall: Recall | None
    effect_class: EffectClass
    """Of moves; a tool call's is its tool's."""
    owner: str
    executor: Callable[[], str]
    over: Callable[[execute.Dispatched, int], Awaitable[bool]]
    """Waits until no attempt that was dispatched so can be under way any more: its executor is known dead, or has
    answered for it, or it is that late (UTC, ns). False when the session was asked to stop first."""
    limit_ns: int
    clock: Callable[[], int] = time.time_ns
    approval_timeout_ns: int | None = None
    """After so long an unanswered question is a no; None waits for ever."""
    conversation: Conversation | None = None
    shown: dict[tuple[int, int], Percept] = field(default_factory=dict)
    """What the last action led to, by episode and step, so that it need not be asked for again."""

    @property
    def context(self) -> Context:
        journal = self.journal
        return Context(stream=journal.stream, state=journal.state, scene=journal.scene, epoch=journal.epoch)

    @property
    def moment(self) -> tuple[int, int]:
        return self.journal.state.episode, self.journal.state.step

    def command(self, name: str) -> str:
        """The command `name` of the open cycle: what its events are recorded under, once."""
        return f"{self.journal.state.cycle}.{name}"
