"""Environments that tests register with Gymnasium: small, exact, and badly behaved on request.

They run behind `gymnasium:` as any registered environment does. `ACTS` counts the steps of each by its `mark`,
so that a test sees what was really done, whatever the log says."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from telemetry.log import open_log

ACTS: Counter[str] = Counter()
"""Steps taken, by `mark`."""
RELEASE = threading.Event()
"""Lets a hanging environment go, so that its thread ends with the test."""
PROBES: dict[str, Callable[[], None]] = {}
"""Called at each step of the environment with that mark, before anything moves."""

Observation = dict[str, np.ndarray]


class Line(gymnasium.Env[Any, Any]):
    """A point in the plane that moves by its action; the goal is drawn with the start. `drift` moves it a little
    further, which makes it another world under the same name."""

    drift = 0.0

    def __init__(self, mark: str = "line") -> None:
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        plane = spaces.Box(-100, 100, (2,), np.float64)
        self.observation_space = spaces.Dict({"observation": plane, "achieved_goal": plane, "desired_goal": plane})
        self._mark = mark
        self._at = np.zeros(2)
        self._goal = np.zeros(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._at = self.np_random.uniform(-5, 5, 2)
        self._goal = self.np_random.uniform(-5, 5, 2)
        return self._seen(), {"success": False}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        PROBES.get(self._mark, lambda: None)()
        ACTS[self._mark] += 1
        self._at = self._at + 0.5 * action + Line.drift
        near = bool(np.linalg.norm(self._at - self._goal) < 0.5)
        return self._seen(), -float(np.linalg.norm(self._at - self._goal)), near, False, {"success": near}

    def _seen(self) -> Observation:
        return {
            "observation": self._at.copy(),
            "achieved_goal": self._at.copy(),
            "desired_goal": self._goal.copy(),
        }


class Bad(gymnasium.Env[Any, Any]):
    """Counts, until its step `after` misbehaves in the way `how` says."""

    def __init__(
        self,
        how: Literal["raises", "nan", "reward", "shape", "space", "hangs", "reset", "never"] = "never",
        after: int = 2,
        mark: str = "bad",
    ) -> None:
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(-1e9, 1e9, (2,), np.float64)
        self._how = how
        self._after = after
        self._mark = mark
        self._count = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if self._how == "reset":
            raise RuntimeError("the motor does not answer")
        self._count = 0
        return np.zeros(2), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        PROBES.get(self._mark, lambda: None)()
        ACTS[self._mark] += 1
        self._count += 1
        seen, reward = np.full(2, float(self._count)), 1.0
        if self._count > self._after:
            match self._how:
                case "raises":
                    raise RuntimeError("the motor is on fire")
                case "nan":
                    seen[1] = np.nan
                case "reward":
                    reward = float("inf")
                case "shape":
                    seen = np.zeros(3)
                case "space":
                    self.observation_space = spaces.Box(-1, 1, (3,), np.float64)
                    seen = np.zeros(3)
                case "hangs":
                    RELEASE.wait(30)
        return seen, reward, False, False, {}


class Wordy(gymnasium.Env[Any, Any]):
    """Shows a text of `letters` letters and its count: content that goes to the store beside the log."""

    def __init__(self, letters: int = 40_000, mark: str = "wordy") -> None:
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Dict({"words": spaces.Text(letters + 10)})
        self._letters = letters
        self._mark = mark
        self._count = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self._count = 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        PROBES.get(self._mark, lambda: None)()
        ACTS[self._mark] += 1
        self._count += 1
        return self._seen(), 0.0, False, False, {}

    def _seen(self) -> dict[str, Any]:
        return {"words": "w" * self._letters + str(self._count)}


def watch_log(mark: str, path: Path, see: Callable[[list[str]], None]) -> None:
    """Calls `see` with the types of every event on disk, read through a connection of its own, at each step."""

    def probe() -> None:
        reader = open_log(path, mode="read")
        see([recorded.type for recorded in reader.read_all()])
        reader.close()

    PROBES[mark] = probe


def register() -> None:
    """Makes the environments known under their names; may be called twice."""
    for name, entry, unsafe in (
        ("AetherLine-v0", Line, False),
        ("AetherRobot-v0", Line, True),
        ("AetherBad-v0", Bad, False),
        ("AetherWordy-v0", Wordy, False),
    ):
        if name not in gymnasium.registry:
            gymnasium.register(name, entry, nondeterministic=unsafe)  # type: ignore[arg-type]  # a class makes them
