"""Small worlds as experience, for tests of models that learn from it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from world_model.experience import Experience
from world_model.jepa.config import JepaConfig
from world_model.layout import Controls, Layout, Part

Numbers = NDArray[np.float32]

CONFIG = JepaConfig(
    latent=4, hidden=32, heads=3, horizon=3, batch=64, slices=16, learning_rate=5e-3, sigreg_weight=0.1, settling=0.5
)
"""A model that trains in a second."""


def spring(*, rows: int, seed: int = 0, episodes: int = 20) -> Experience:
    """A mass on a spring that is pushed, with a wall at 1: place and speed are seen, its place is the achieved goal."""
    rng = np.random.default_rng(seed)
    layout = Layout(
        parts=(Part(name="state", shape=(2,), dtype="float64"),),
        goal=1,
        controls=Controls(kind="box", width=1, low=(-1.0,), high=(1.0,)),
    )
    episode_N = np.arange(rows) * episodes // rows
    seen_ND, done_NA = np.zeros((rows, 3), np.float32), np.zeros((rows, 1), np.float32)
    place = speed = 0.0
    for i in range(rows):
        if i == 0 or episode_N[i] != episode_N[i - 1]:
            place, speed = rng.uniform(-1, 1), rng.uniform(-0.5, 0.5)
        seen_ND[i] = (place, speed, place)
        if i + 1 < rows and episode_N[i + 1] == episode_N[i]:
            push = rng.uniform(-1, 1)
            done_NA[i] = push
            speed += 0.3 * push - 0.2 * place
            place += 0.3 * speed
            if place > 1:
                place, speed = 1.0, -0.5 * speed
    return _lived(layout, seen_ND, done_NA, episode_N, position_N=np.arange(rows) + 100)


def hidden_speed(*, rows: int, seed: int = 0, episodes: int = 20) -> Experience:
    """The spring, of which only the place is seen: how fast it goes follows from two places, never from one."""
    whole = spring(rows=rows, seed=seed, episodes=episodes)
    layout = whole.layout.model_copy(update={"parts": (Part(name="place", shape=(1,), dtype="float64"),), "goal": 0})
    return dataclasses.replace(whole, layout=layout, seen_ND=whole.seen_ND[:, :1])


def room(*, rows: int, picture: bool, seed: int = 0, episodes: int = 20, side: int = 5) -> Experience:
    """A walker on a torus of cells that steps left, right, up or down, seen as a `picture` of its surroundings with
    many shades, or as a grid of codes; discrete controls, and no goal."""
    rng = np.random.default_rng(seed)
    floor = rng.integers(0, 40, size=(side, side, 1)) * (1 if picture else 0)
    layout = Layout(
        parts=(Part(name="image", shape=(side, side, 1), dtype="uint8"),),
        controls=Controls(kind="discrete", width=4),
    )
    moves = np.array([(0, -1), (0, 1), (-1, 0), (1, 0)])
    episode_N = np.arange(rows) * episodes // rows
    seen_ND, done_NA = np.zeros((rows, side * side), np.float32), np.zeros((rows, 4), np.float32)
    cell = np.zeros(2, np.int64)
    for i in range(rows):
        if i == 0 or episode_N[i] != episode_N[i - 1]:
            cell = rng.integers(0, side, size=2)
        seen = floor.copy()
        seen[cell[0], cell[1]] = 255 if picture else 8
        seen_ND[i] = seen.reshape(-1)
        if i + 1 < rows and episode_N[i + 1] == episode_N[i]:
            choice = int(rng.integers(4))
            done_NA[i, choice] = 1
            cell = (cell + moves[choice]) % side
    return _lived(layout, seen_ND, done_NA, episode_N, position_N=np.full(rows, -1))


def _lived(
    layout: Layout, seen_ND: Numbers, done_NA: Numbers, episode_N: NDArray[np.int64], *, position_N: NDArray[np.int64]
) -> Experience:
    """Without rewards, each episode a session of its own."""
    return Experience(
        layout=layout,
        seen_ND=seen_ND,
        done_NA=done_NA,
        reward_N=np.zeros(len(seen_ND), np.float32),
        episode_N=episode_N,
        session_N=episode_N,
        position_N=position_N,
    )
