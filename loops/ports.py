"""What the loop needs of others, as protocols; `runtime/compose.py` passes the real ones in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from pydantic import JsonValue

from loops.context import Context
from loops.gateway import Passage
from loops.percept import Percept
from loops.spaces import Spaces
from telemetry.events import Event, reason, sense
from telemetry.events.values import Action, Digest, EffectClass, Persistence, ToolCall
from world_model.linear import Prediction

P = ParamSpec("P")
T = TypeVar("T")
PhaseT = TypeVar("PhaseT")


class Environment(Protocol):
    """A world for one session at a time. Calls block; the loop calls from a thread or a pool."""

    effect_class: EffectClass
    """How an action that may or may not have happened is settled; `replayable` for seeded simulators."""

    instant: bool
    """Whether it answers in microseconds and cannot hang, so that a call needs no thread of its own."""

    @property
    def spaces(self) -> Spaces: ...

    def reset(self, *, seed: int) -> Percept:
        """Begins an episode. Equal seeds give equal episodes under equal actions."""
        ...

    def act(self, action: Action) -> Percept:
        """Takes one action. Raises `EnvironmentFailed` when the world raises, answers NaN or leaves its spaces."""
        ...

    def close(self) -> None: ...


class Toolbox(Protocol):
    """Tools for one session at a time. Calls block; the loop makes each in a thread or a pool."""

    @property
    def spaces(self) -> Spaces:
        """`spaces.action` is a `ToolActions` with every tool."""
        ...

    def call(self, call: ToolCall, *, effect: Digest, passage: Passage | None = None) -> JsonValue:
        """Makes the call under the key `effect` and returns its result, secrets in it redacted. What is not free to
        run twice goes out by `passage`, where one is given.

        Raises `ToolFailed` when it could not be made, raised or took too long."""
        ...

    def settle(self, call: ToolCall, *, effect: Digest, passage: Passage | None = None) -> JsonValue:
        """After a crash between intent and outcome, of a probeable tool: its result if the effect happened, else
        raises `ToolFailed` (not_done); of a compensable one: undoes it, then raises `ToolFailed` (not_done)."""
        ...

    def close(self) -> None: ...


Forecast = Callable[[Sequence[Action]], Prediction | None]
"""What the world model expects after each of K moves, shapes (K, D); None where nothing numeric is seen."""


class Reasoner(Protocol):
    """Proposes what could be done and says what it means to keep doing."""

    def propose(self, context: Context, forecast: Forecast) -> Sequence[reason.Planned | reason.Proposed]:
        """At most MAX_OPTIONS proposals, best first, numbered from 0 in that order; before them the plan that they
        come from, where there is one."""
        ...

    def persist(self, context: Context, action: Action) -> Persistence | None:
        """What to keep after `action` was decided on."""
        ...


class Asking(Reasoner, Protocol):
    """A reasoner that asks models. Its calls are effects: `request` is on disk before `answer` sends anything."""

    def request(self, context: Context) -> Sequence[Event]:
        """`reason.requested` for each model to be asked, after `sense.context_compacted` where the dialogue passed its
        budget; nothing when there is nothing to ask."""
        ...

    def answer(self, context: Context, heard: Callable[[str], None]) -> Sequence[Event]:
        """Asks for every `context.scene.requests` and returns `reason.answered` or `reason.unanswered` for each, in
        their order. Blocks. `heard` gets the text as it streams in; it may be called from other threads."""
        ...


class Planning(Reasoner, Protocol):
    """A reasoner that plans for several sessions at once in little more time than for one."""

    def ahead(self, contexts: Sequence[Context]) -> None:
        """Makes the plans that `propose` will be asked for in these contexts, each of another session. One whose
        replica is behind is passed over: `propose` says so."""
        ...

    def forget(self, stream: str) -> None:
        """Lets go of a plan that nobody asked for."""
        ...


MAX_OPTIONS = 8
"""Proposals a decision records (issue "A world model that earns its place": at most 8 options)."""


Recall = Callable[[Context], Awaitable[sense.Recalled | None]]
"""The episodic memory: the nearest episodes to what was observed, as of the session's last commit."""


PhaseMethod = Callable[[Any, Context], Sequence[Event]]
"""A method of one of the five phase classes, not bound: its name says where it runs."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a phase method answered, and how long that took."""

    events: Sequence[Event]
    elapsed_ns: int


class PhaseRunner(Protocol):
    """Runs a phase's method where the scenario placed it, within the phase's time-out."""

    def steps(self, now: Callable[[], Context], methods: Sequence[PhaseMethod]) -> AsyncIterator[Step]:
        """Runs methods one after the other. Each answer is recorded before the next is asked for, so `now` gives
        its context; neighbours in one pool are one call."""
        ...

    async def run(
        self,
        method: Callable[Concatenate[PhaseT, Context, P], T],
        context: Context,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...
