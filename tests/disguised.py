"""A maze that shows the same in another order and other units."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium_robotics.envs.maze import maps
from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv

from benchmarks.world_model.mazes import world
from loops.environments import EnvironmentSettings

Shown = dict[str, Any]

ORDER = (3, 0, 2, 1)
"""Registered are place, x and y, and speed, x and y."""
FACTOR = np.array([0.01, -100.0, 30.0, 0.05])
SHIFT = np.array([0.3, 1000.0, -20.0, 7.0])
GOAL_FACTOR = np.array([-40.0, 0.02])
GOAL_SHIFT = np.array([500.0, -0.1])


class DisguisedMaze(PointMazeEnv):  # type: ignore[misc]  # the package has no types
    """The registered UMaze in all that happens: only what is seen of it is written otherwise; of the goals, achieved
    and desired alike, where `goals` says so."""

    def __init__(self, *, goals: bool, **kwargs: Any) -> None:  # noqa: ANN401  handed on as they come
        self._goals = goals
        super().__init__(maze_map=maps.U_MAZE, **kwargs)

    def reset(self, **kwargs: Any) -> tuple[Shown, Shown]:  # noqa: ANN401  handed on as they come
        shown, info = super().reset(**kwargs)
        return self._disguised(shown), info

    def step(self, action: np.ndarray) -> tuple[Shown, float, bool, bool, Shown]:
        shown, reward, terminated, truncated, info = super().step(action)
        return self._disguised(shown), reward, terminated, truncated, info

    def _disguised(self, shown: Shown) -> Shown:
        written = {"observation": shown["observation"][[*ORDER]] * FACTOR + SHIFT}
        for name in ("achieved_goal", "desired_goal"):
            written[name] = shown[name][::-1] * GOAL_FACTOR + GOAL_SHIFT if self._goals else shown[name]
        return written


gymnasium.register(id="PointMazeDisguised-v0", entry_point=f"{__name__}:DisguisedMaze", max_episode_steps=300)


def disguised(*, goals: bool = True) -> EnvironmentSettings:
    """The UMaze of `benchmarks.world_model.mazes`, seen otherwise."""
    told = {"id": f"gymnasium:{__name__}:PointMazeDisguised-v0", "options": {"goals": goals}}
    return world("umaze").model_copy(update=told)
