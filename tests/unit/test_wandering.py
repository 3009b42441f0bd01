"""Experience gathered without a log, for worlds whose only word on what is wanted is a reward."""

from __future__ import annotations

import numpy as np

from benchmarks.world_model.nonlinear import WORLD
from benchmarks.world_model.wandering import wander


def test_every_decision_is_kept_with_its_reward_and_nothing_follows_an_episodes_last() -> None:
    lived = wander(WORLD, count=2, seed=0, hold=4)
    assert (len(lived), lived.transitions) == (202, 200)
    assert (lived.reward_N[lived.steps_N] < 0).all()
    assert (lived.reward_N[~lived.steps_N] == 0).all()
    assert (lived.done_NA[~lived.steps_N] == 0).all()


def test_a_control_is_held_and_the_same_seed_gives_the_same_walk() -> None:
    one, other = (wander(WORLD, count=1, seed=3, hold=4) for _ in range(2))
    np.testing.assert_array_equal(one.seen_ND, other.seen_ND)
    changes = (np.diff(one.done_NA[:-1, 0]) != 0).mean()
    assert 0.15 < changes < 0.4
