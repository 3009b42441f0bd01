"""The two views of MiniGrid's four rooms, as a scenario asks for them and as the benchmark walks them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from benchmarks.world_model.fourrooms import Walkers, layout, tried, walked
from benchmarks.world_model.statistics import ratio
from benchmarks.world_model.views import View, world
from loops.environments import make_environment
from loops.layouts import layout_of
from loops.spaces import flatten
from telemetry.events.values import Move

VIEWS: tuple[View, ...] = get_args(View)


@pytest.mark.parametrize("view", VIEWS)
def test_walkers_see_what_a_session_would(view: View) -> None:
    environment = make_environment(world(view))
    percept = environment.reset(seed=5)
    walkers = Walkers(1)
    walkers.reset([5])
    assert layout_of(environment.spaces) == layout(view)
    for move in (2, 1, 2, 0, 6):
        seen = flatten(environment.spaces, percept.observations, percept.goal)
        np.testing.assert_array_equal(walkers.see(view, walkers.active)[0], seen.astype(np.float32))
        percept = environment.act(Move(to=move))
        walkers.act(np.array([move]))
    environment.close()


def test_both_views_learn_from_one_walk() -> None:
    lived = walked(3, seed=0)
    whole, partial = lived["whole"], lived["partial"]
    assert len(whole) == len(partial)
    np.testing.assert_array_equal(whole.done_NA, partial.done_NA)
    assert whole.transitions == int(whole.done_NA.sum()) == len(whole) - 3


def test_an_episode_ends_after_a_hundred_decisions() -> None:
    (row,) = tried("partial", lambda walkers, _: np.full(len(walkers), 6), [7])
    assert (row["success"], row["decisions"]) == (False, 100)


def test_a_ratio_holds_its_estimate_and_survives_a_peer_that_never_succeeds() -> None:
    ours, theirs = np.array([1.0] * 30 + [0.0] * 70), np.array([1.0] * 5 + [0.0] * 95)
    found = ratio(ours, theirs)
    assert found.value == pytest.approx(6.0)
    assert found.low < 6.0 < found.high
    assert ratio(ours, np.zeros(100)).value == 30.0
