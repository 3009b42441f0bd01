"""What the loop needs of others, as protocols; `runtime/compose.py` passes the real ones in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from loops.context import Context
from loops.spaces import Spaces
from telemetry.events import reason, sense
from telemetry.events.values import (
    Action,
    Digest,
    EffectClass,
    Goal,
    Observation,
    Persistence,
    Value,
    digest_of,
)
from world_model.linear import Prediction

P = ParamSpec("P")
T = TypeVar("T")
PhaseT = TypeVar("PhaseT")


class Percept(Value):
    """What an environment shows at one moment, and what the step that led there brought."""

    observations: tuple[Observation, ...]
    goal: Goal | None = None
    reward: float | None = None
    terminated: bool = False
    truncated: bool = False
    success: bool | None = None

    @property
    def ends_episode(self) -> bool:
        return self.terminated or self.truncated

    @property
    def digest(self) -> Digest:
        """Of what is shown: observations and goal."""
        return digest_of(*self.observations, *(() if self.goal is None else (self.goal,)))


class Environment(Protocol):
    """A world for one session at a time. Calls block; the loop calls from a thread or a pool."""

    effect_class: EffectClass
    """How an action that may or may not have happened is settled; `replayable` for seeded simulators."""

    @property
    def spaces(self) -> Spaces: ...

    def reset(self, *, seed: int) -> Percept:
        """Begins an episode. Equal seeds give equal episodes under equal actions."""
        ...

    def act(self, action: Action) -> Percept:
        """Takes one action. Raises `EnvironmentFailed` when the world raises, answers NaN or leaves its spaces."""
        ...

    def close(self) -> None: ...


Forecast = Callable[[Sequence[Action]], Prediction | None]
"""What the world model expects after each of K moves, shapes (K, D); None where nothing numeric is seen."""


class Reasoner(Protocol):
    """Proposes what could be done and says what it means to keep doing."""

    def propose(self, context: Context, forecast: Forecast) -> Sequence[reason.Proposed]:
        """At most MAX_OPTIONS proposals, best first, numbered from 0 in that order."""
        ...

    def persist(self, context: Context, action: Action) -> Persistence | None:
        """What to keep after `action` was decided on."""
        ...


MAX_OPTIONS = 8
"""Proposals a decision records (issue "A world model that earns its place": at most 8 options)."""


Recall = Callable[[Context], Awaitable[sense.Recalled | None]]
"""The episodic memory: the nearest episodes to what was observed, as of the session's last commit."""


class PhaseRunner(Protocol):
    """Runs a phase's method where the scenario placed it, within the phase's time-out."""

    async def run(
        self,
        method: Callable[Concatenate[PhaseT, Context, P], T],
        context: Context,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...
