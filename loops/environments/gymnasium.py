"""One Gymnasium environment as a world of the loop.

Knows episodes, repeated frames and what success means; knows no environment's layout. Invariant: equal seeds
and equal actions give bit-identical percepts, and a percept never holds what its spaces don't declare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from loops.environments import registered
from loops.environments.reading import Checked, Misfit, Reading, actions_of
from loops.errors import EnvironmentFailed, ScenarioInvalid
from loops.percept import Percept
from loops.spaces import Spaces
from telemetry.events.values import Action, EffectClass

SUCCESS_KEYS = ("success", "is_success")
"""Where `info` reports success: mazes of Gymnasium-Robotics, then its arms and hands."""


class _Step(NamedTuple):
    """What one simulator step answered."""

    checked: Checked
    reward: float
    terminated: bool
    truncated: bool

    @property
    def ends_episode(self) -> bool:
        return self.terminated or self.truncated


class GymnasiumEnvironment:
    """The registered environment `name`, which may be `module:Id-v0`.

    An action is repeated for `frames` simulator steps, fewer when the episode ends or success begins; rewards
    are summed. `success` is None where nothing tells it."""

    effect_class: EffectClass
    instant = False

    def __init__(
        self,
        name: str,
        *,
        frames: int = 1,
        max_frames: int | None = None,
        success: Literal["info", "reward"] = "info",
        quantum: float | None = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> None:
        spec = registered.find(name)
        # One that Gymnasium calls nondeterministic can't be rebuilt: what it did is not known after a crash.
        self.effect_class = "unsafe" if spec.nondeterministic else "replayable"
        self._id = registered.PREFIX + name
        self._frames = frames
        self._success_from = success
        self._env = registered.build(spec, max_frames=max_frames, options=options or {})
        self._declared = (self._env.observation_space, self._env.action_space)
        try:
            self._reading = Reading(self._env.observation_space)
            action = actions_of(self._env.action_space, quantum=quantum)
        except ScenarioInvalid as error:
            self._env.close()
            raise ScenarioInvalid(f"{self._id}: {error}") from error
        self._spaces = Spaces(observation=self._reading.parts, goal=self._reading.goal, action=action)
        self._running = False
        self._frame = 0
        self._succeeded: bool | None = None

    @property
    def spaces(self) -> Spaces:
        return self._spaces

    def reset(self, *, seed: int) -> Percept:
        """Begins an episode; `seed` >= 0."""
        self._running = False
        self._frame = 0
        try:
            seen, info = self._env.reset(seed=seed)
            self._env.action_space.seed(seed)
        except Exception as error:
            raise self._raised(error) from error
        checked = self._checked(seen)
        self._succeeded = self._success(info, reward=0.0, terminated=False)
        self._running = True
        observations, goal = self._reading.record(checked)
        return Percept(observations=observations, goal=goal, success=self._succeeded)

    def act(self, action: Action) -> Percept:
        """Raises `EnvironmentFailed`, after which only `reset` can follow, and ValueError for an action
        that is not in its space, after which the episode goes on."""
        assert self._running, "act needs an episode that runs; call reset"
        control = self._spaces.moves.fit(action)
        self._running = False
        total, left = 0.0, self._frames
        while True:
            had_success = self._succeeded
            step = self._step(control)
            total += step.reward
            left -= 1
            if not left or step.ends_episode or (self._succeeded and not had_success):
                break
        self._running = not step.ends_episode
        observations, goal = self._reading.record(step.checked)
        return Percept(
            observations=observations,
            goal=goal,
            reward=total,
            terminated=step.terminated,
            truncated=step.truncated,
            success=self._succeeded,
        )

    def close(self) -> None:
        self._running = False
        try:
            self._env.close()
        except Exception as error:
            raise self._raised(error) from error

    def _step(self, control: int | NDArray[Any]) -> _Step:
        self._frame += 1
        # A copy, because an environment that changes its action in place would not repeat it.
        given = control if isinstance(control, int) else control.copy()
        try:
            seen, reward, terminated, truncated, info = self._env.step(given)
        except Exception as error:
            raise self._raised(error) from error
        checked = self._checked(seen)
        step = _Step(checked, self._finite(reward), bool(terminated), bool(truncated))
        self._succeeded = self._success(info, reward=step.reward, terminated=step.terminated)
        return step

    def _checked(self, seen: object) -> Checked:
        now = (self._env.observation_space, self._env.action_space)
        for declared, found in zip(self._declared, now, strict=True):
            if declared is not found and declared != found:
                raise self._invalid(f"its space should stay {declared}; it is now {found}")
        try:
            return self._reading.check(seen)
        except Misfit as misfit:
            raise self._invalid(str(misfit)) from misfit

    def _finite(self, reward: object) -> float:
        if not isinstance(reward, int | float | np.number | np.bool) or not math.isfinite(reward):
            raise self._invalid(f"the reward should be a finite number; found {reward!r:.80}")
        return float(reward)

    def _success(self, info: Mapping[str, object], *, reward: float, terminated: bool) -> bool | None:
        if self._success_from == "reward":
            return terminated and reward > 0
        return next((bool(info[key]) for key in SUCCESS_KEYS if key in info), None)

    def _raised(self, error: Exception) -> EnvironmentFailed:
        return EnvironmentFailed(f"{self._where} raised {type(error).__name__}: {error}", "raised")

    def _invalid(self, what: str) -> EnvironmentFailed:
        return EnvironmentFailed(f"{self._where}: {what}", "invalid")

    @property
    def _where(self) -> str:
        return f"{self._id}, frame {self._frame} of the episode"
