"""What an environment shows: the value that passes from a world to the phase that senses it."""

from __future__ import annotations

from functools import cached_property

from telemetry.events.values import Digest, Goal, Observation, Value, digest_of


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

    @cached_property
    def digest(self) -> Digest:
        """Of what is shown: observations and goal."""
        return digest_of(*self.observations, *(() if self.goal is None else (self.goal,)))
