"""The true simulator as a planner sees a model: every course of action is tried in MuJoCo itself.

Knows PointMaze's physics: state is position and speed, and the speed is bounded before each frame. Invariant: what it
foresees is what the environment does, up to the rounding of a float32 start."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import gymnasium
import mujoco
import numpy as np
import torch
from mujoco.rollout import Rollout as Threads
from numpy.typing import NDArray
from torch import Tensor

from loops.environments import EnvironmentSettings
from loops.environments.registered import PREFIX, build, find
from world_model.plan.forward import Rollout

# M = B · N courses of action, H = decisions ahead, S = 1 time + 2 places + 2 speeds

SPEED = 5.0
"""Bound of PointEnv._clip_velocity, metres a second."""


class Simulator:
    """`Forward` of a point maze; what is believed is place and speed, shape (4,)."""

    history = 1

    def __init__(self, settings: EnvironmentSettings) -> None:
        self._frames = settings.frames
        self._env: gymnasium.Env[object, object] = build(
            find(settings.id.removeprefix(PREFIX)), max_frames=settings.max_frames, options=settings.options
        )
        self._env.reset(seed=0)
        self._model: mujoco.MjModel = self._env.unwrapped.model  # type: ignore[attr-defined]  # a maze has one
        threads = torch.get_num_threads()
        self._data = [mujoco.MjData(self._model) for _ in range(threads)]
        self._threads = Threads(nthread=threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._threads.close()
        self._env.close()

    def believe(self, seen_KD: NDArray[np.float32], done_KA: NDArray[np.float32]) -> NDArray[np.float32]:
        return seen_KD[-1, :4]

    def rollout(self, start_BZ: Tensor, controls_BNHA: Tensor) -> Rollout:
        b, n, h, a = controls_BNHA.shape
        controls_MHA = controls_BNHA.reshape(b * n, h, a).double().clamp(-1, 1).numpy()
        state_MS = np.zeros((b * n, 5))
        state_MS[:, 1:] = np.repeat(start_BZ.double().numpy(), n, axis=0)
        after = []
        for step in range(h):
            state_MS = self._decision(state_MS, controls_MHA[:, step])
            after.append(state_MS[:, 1:])
        latent = torch.from_numpy(np.stack(after, axis=1)).float().reshape(b, n, h, 4)
        return Rollout(latent[..., :2], torch.zeros(b, n, h), latent)

    def _decision(self, state_MS: NDArray[np.float64], control_MA: NDArray[np.float64]) -> NDArray[np.float64]:
        for _ in range(self._frames):
            state_MS[:, 3:] = state_MS[:, 3:].clip(-SPEED, SPEED)
            frames, _ = self._threads.rollout(self._model, self._data, state_MS, control_MA[:, np.newaxis])
            state_MS = np.array(frames[:, -1])
        return state_MS
