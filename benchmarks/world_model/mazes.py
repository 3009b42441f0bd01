"""The mazes, whole or changed: goals in some cells only, one start for all, an actuator that pulls more or less.

Knows Gymnasium-Robotics' maps; knows no model. Invariant: without a change the world is the registered one."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import gymnasium
from gymnasium_robotics.envs.maze import maps
from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv
from pydantic import JsonValue

from loops.environments import EnvironmentSettings

FRAMES = 5
"""Simulator steps a decision."""

Name = Literal["umaze", "medium", "large"]
Cell = tuple[int, int]
Map = list[list[int | str]]


class Maze(NamedTuple):
    id: str
    map: Map
    max_frames: int
    """The registered limit."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The free ones, by row and column."""
        return tuple((r, c) for r, row in enumerate(self.map) for c, at in enumerate(row) if at == 0)

    @property
    def seen_goals(self) -> tuple[Cell, ...]:
        """Every other free cell: only there do goals lie while experience is gathered."""
        return self.cells[::2]

    @property
    def new_goals(self) -> tuple[Cell, ...]:
        return self.cells[1::2]

    def cell(self, x: float, y: float) -> Cell:
        """Where a place lies; cells are one wide and the map's middle is the origin."""
        rows, columns = len(self.map), len(self.map[0])
        return int(rows / 2 - y), int(x + columns / 2)


MAZES: dict[Name, Maze] = {
    "umaze": Maze("PointMaze_UMaze-v3", maps.U_MAZE, 300),
    "medium": Maze("PointMaze_Medium-v3", maps.MEDIUM_MAZE, 600),
    "large": Maze("PointMaze_Large-v3", maps.LARGE_MAZE, 800),
}


def world(
    name: Name,
    *,
    goals: tuple[Cell, ...] | None = None,
    start: Cell | None = None,
    gain: float | None = None,
    endless: bool = False,
    max_frames: int | None = None,
) -> EnvironmentSettings:
    """As a scenario names it. Starts stay free where only `goals` are given; `endless` goes on at the goal."""
    maze = MAZES[name]
    options: dict[str, JsonValue] = {}
    if goals is not None or start is not None:
        options["maze_map"] = _marked(maze, goals, start)
    if endless:
        options["continuing_task"] = True
    if gain is not None:
        options.setdefault("maze_map", [[*row] for row in maze.map])
        options["gain"] = gain
    return EnvironmentSettings(
        id=f"gymnasium:{GAINED if gain is not None else maze.id}",
        frames=FRAMES,
        max_frames=max_frames or maze.max_frames,
        options=options,
    )


def _marked(maze: Maze, goals: tuple[Cell, ...] | None, start: Cell | None) -> list[JsonValue]:
    """The map with what may be a start, a goal, or both."""
    marked: list[list[JsonValue]] = [[*row] for row in maze.map]
    for row, column in maze.cells:
        starts = start is None or start == (row, column)
        aims = goals is None or (row, column) in goals
        marked[row][column] = {(True, True): "c", (True, False): "r", (False, True): "g"}.get((starts, aims), 0)
    return [*marked]


class GainedPointMaze(PointMazeEnv):  # type: ignore[misc]  # the package has no types
    """A maze whose actuators pull `gain` times as strongly as the registered ones."""

    def __init__(self, *, gain: float, **kwargs: Any) -> None:  # noqa: ANN401  handed on as they come
        super().__init__(**kwargs)
        self.point_env.model.actuator_gear[:, 0] *= gain


GAINED = f"{__name__}:PointMazeGained-v0"
gymnasium.register(id="PointMazeGained-v0", entry_point=f"{__name__}:GainedPointMaze", max_episode_steps=300)
