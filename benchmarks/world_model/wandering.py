"""Experience of a world without a log: controls drawn at random, rewards kept. For worlds whose sessions would take
longer to write down than to live.

Knows environments; knows no model. Invariant: no reset seed is among the held-out ones."""

from __future__ import annotations

from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from loops.environments import EnvironmentSettings, make_environment
from loops.layouts import layout_of
from loops.ports import Environment
from loops.randomness import derive
from loops.spaces import flatten
from world_model.experience import Experience, of_episodes
from world_model.layout import Controls

# T = rows of an episode, D = width of what is seen, A = of controls

Numbers = NDArray[np.float32]
Episode = tuple[Numbers, Numbers, Numbers]
"""Seen (T, D), done (T − 1, A), reward (T − 1)."""


def wander(world: EnvironmentSettings, *, count: int, seed: int, hold: int) -> Experience:
    """`count` episodes by the law of the `explore` reasoner, each a session of its own."""
    with closing(make_environment(world)) as environment:
        layout = layout_of(environment.spaces)
        assert layout is not None, "a world that shows numbers"
        episodes = [
            _episode(environment, layout.controls, derive(seed, "wander", number), hold=hold) for number in range(count)
        ]
    return of_episodes(layout, episodes)


def _episode(environment: Environment, controls: Controls, seed: int, *, hold: int) -> Episode:
    noise = np.random.default_rng((1, seed))
    percept = environment.reset(seed=seed)
    seen = [flatten(environment.spaces, percept.observations, percept.goal)]
    done: list[Numbers] = []
    reward: list[float] = []
    left, control_A = 0, np.zeros(controls.width, dtype=np.float32)
    while not percept.ends_episode:
        if not left:
            control_A = noise.uniform(controls.low, controls.high).astype(np.float32)
            left = int(noise.integers(1, 2 * hold))
        left -= 1
        percept = environment.act(environment.spaces.moves.move(control_A))
        done.append(control_A)
        reward.append(percept.reward or 0.0)
        seen.append(flatten(environment.spaces, percept.observations, percept.goal))
    return np.array(seen, np.float32), np.array(done, np.float32), np.array(reward, np.float32)
