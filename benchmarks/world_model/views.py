"""MiniGrid's four rooms as two worlds: seen whole from above, or only what lies ahead of the walker.

Knows the package's wrapper; knows no model. Invariant: equal seeds lay out equal rooms in both, so episodes pair.
A scenario asks for one by module and id, `gymnasium:benchmarks.world_model.views:FourRoomsWhole-v0`."""

from __future__ import annotations

from typing import Any, Final, Literal

import gymnasium
from minigrid.envs.fourrooms import FourRoomsEnv
from minigrid.wrappers import FullyObsWrapper

from loops.environments import EnvironmentSettings

View = Literal["whole", "partial"]

STEPS: Final = 100
"""Decisions of an episode, the package's own limit."""

WHOLE: Final = "FourRoomsWhole-v0"
PARTIAL: Final = "MiniGrid-FourRooms-v0"


def seen_whole(**options: Any) -> gymnasium.Env[Any, Any]:  # noqa: ANN401  handed on as they come
    """19 × 19 × 3 codes, the walker's place and direction among them."""
    room: gymnasium.Env[Any, Any] = FourRoomsEnv(**options)  # type: ignore[no-untyped-call]  # the package has no types
    return seen_from_above(room)


def seen_from_above(room: gymnasium.Env[Any, Any]) -> FullyObsWrapper:
    return FullyObsWrapper(room)  # type: ignore[no-untyped-call]  # the package has no types


def world(view: View) -> EnvironmentSettings:
    """As a scenario names it; the goal is the only reward, so that reaching it is success."""
    name = f"{__name__}:{WHOLE}" if view == "whole" else PARTIAL
    return EnvironmentSettings(id=f"gymnasium:{name}", max_frames=STEPS, success="reward")


gymnasium.register(id=WHOLE, entry_point=f"{__name__}:seen_whole")
