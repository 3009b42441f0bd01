"""A world without content: it counts. The loop's benchmark runs on it, so that what is measured is the loop.

Knows only its own count. Invariant: what it shows follows from the actions since the last reset."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import JsonValue

from loops.errors import EnvironmentNotFound, ScenarioInvalid
from loops.percept import Percept
from loops.spaces import ArrayPart, DiscreteActions, Spaces
from telemetry.events.values import Action, Array, ArrayObservation, EffectClass

NAME = "count"


class NullEnvironment:
    """Shows one float64 array: the steps of this episode, and how many of them took action 1.

    Two actions, reward 0, no goal, no success; it ends only by `max_frames`. The seed changes nothing."""

    effect_class: EffectClass = "replayable"
    instant = True

    def __init__(
        self,
        name: str = "",
        *,
        frames: int = 1,
        max_frames: int | None = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> None:
        if name:
            raise EnvironmentNotFound(f'no environment "null:{name}": there is only "null:"', ("null:",))
        if options:
            raise ScenarioInvalid(f'"null:" takes no options; remove {", ".join(sorted(options))}')
        self._frames = frames
        self._max_frames = max_frames
        self._steps = self._ones = 0
        self._spaces = Spaces(
            observation=(ArrayPart(name=NAME, shape=(2,), dtype="float64"),), action=DiscreteActions(n=2)
        )

    @property
    def spaces(self) -> Spaces:
        return self._spaces

    def reset(self, *, seed: int) -> Percept:
        self._steps = self._ones = 0
        return Percept(observations=self._seen())

    def act(self, action: Action) -> Percept:
        index = self._spaces.moves.fit(action)
        left = self._frames if self._max_frames is None else min(self._frames, self._max_frames - self._steps)
        self._steps += left
        self._ones += left * int(index)
        return Percept(
            observations=self._seen(),
            reward=0.0,
            truncated=self._max_frames is not None and self._steps >= self._max_frames,
        )

    def close(self) -> None:
        """Holds nothing."""

    def _seen(self) -> tuple[ArrayObservation]:
        count = np.array([self._steps, self._ones], dtype=np.float64)
        return (ArrayObservation(name=NAME, array=Array.of(count)),)
