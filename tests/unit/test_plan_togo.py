"""Decisions to the next reward, learnt on a line whose goal lies elsewhere in every episode."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from world_model.errors import ShapeError
from world_model.experience import Experience, of_episodes
from world_model.layout import Controls, Layout, Part
from world_model.plan.cost import Indifferent
from world_model.plan.forward import Rollout
from world_model.plan.planner import plan
from world_model.plan.settings import PlanSettings
from world_model.plan.togo import FADES, ToGo, ToGoSettings, to_go

CELLS = 9
SETTINGS = ToGoSettings(hidden=48, steps=2500, batch=128)
LAYOUT = Layout(parts=(Part(name="place", shape=(2,), dtype="float32"),), controls=Controls(kind="discrete", width=3))


class Line:
    """The walker's cell and the goal's; left, stay, right."""

    def rollout(self, start_BZ: Tensor, controls_BNHA: Tensor) -> Rollout:
        moves_BNH = (controls_BNHA @ torch.tensor([-1.0, 0.0, 1.0])).cumsum(dim=-1)
        place_BNH = (start_BZ[:, None, None, 0] + moves_BNH).clamp(0, CELLS - 1)
        latent = torch.stack([place_BNH, start_BZ[:, None, None, 1].expand_as(place_BNH)], dim=-1)
        return Rollout(latent, torch.zeros_like(place_BNH), latent)


def wandered(episodes: int, *, rewarding: bool = True, seed: int = 0) -> Experience:
    noise = np.random.default_rng(seed)
    walks = []
    for _ in range(episodes):
        place, goal = noise.choice(CELLS, size=2, replace=False)
        seen, done, reward = [(place, goal)], [], []
        for _ in range(20):
            move = int(noise.integers(3))
            place = min(max(place + move - 1, 0), CELLS - 1)
            done.append(np.eye(3)[move])
            reward.append(float(rewarding and place == goal))
            seen.append((place, goal))
            if place == goal:
                break
        walks.append((np.array(seen, dtype=np.float32), np.array(done), np.array(reward)))
    return of_episodes(LAYOUT, walks)


def all_pairs() -> NDArray[np.float32]:
    return np.array([(place, goal) for place in range(CELLS) for goal in range(CELLS) if place != goal], np.float32)


def test_what_is_learnt_counts_the_decisions_to_a_goal_that_lies_elsewhere_in_every_episode() -> None:
    lived = wandered(400)
    cost = to_go(Line(), lived.seen_ND, lived, SETTINGS, seed=0)
    pairs = all_pairs()
    # One outcome a course: no decision comes after another.
    found = cost(torch.from_numpy(pairs)[:, None])[:, 0].numpy()
    assert np.abs(found - np.abs(pairs[:, 0] - pairs[:, 1])).mean() < 1


def test_the_planner_walks_the_shortest_way_to_every_goal() -> None:
    lived = wandered(400)
    cost = to_go(Line(), lived.seen_ND, lived, SETTINGS, seed=0)
    pairs = all_pairs()
    noise = [np.random.default_rng(row) for row in range(len(pairs))]
    settings = PlanSettings(horizon=2, beam=9, precision=50.0, epistemic=0.0)
    plans = plan(Line(), torch.from_numpy(pairs), [cost] * len(pairs), LAYOUT.controls, noise, settings)
    chosen = np.array([one.options[0].control_A.argmax() - 1 for one in plans])
    assert (chosen == np.sign(pairs[:, 1] - pairs[:, 0])).mean() >= 0.95


def test_the_same_experience_and_seed_give_the_same_costs() -> None:
    lived = wandered(60)
    brief = ToGoSettings(hidden=16, steps=60, batch=32)
    one, other = (to_go(Line(), lived.seen_ND, lived, brief, seed=3) for _ in range(2))
    assert torch.equal(one(torch.from_numpy(all_pairs())), other(torch.from_numpy(all_pairs())))


def test_a_log_without_a_reward_leaves_the_planner_indifferent() -> None:
    lived = wandered(10, rewarding=False)
    assert isinstance(to_go(Line(), lived.seen_ND, lived, SETTINGS, seed=0), Indifferent)


def test_what_is_foreseen_beyond_the_reward_costs_nothing() -> None:
    straight = nn.Linear(1, 1, bias=False)
    nn.init.ones_(straight.weight)
    cost = ToGo(nn.Sequential(straight), torch.zeros(1), torch.ones(1))
    worth = torch.tensor([FADES**3, 0.999, FADES**5, FADES**2])
    course = torch.logit(worth)[:, None]
    assert cost(course).tolist() == pytest.approx([3.0, math.log(0.999) / math.log(FADES), 0.0, 0.0], abs=1e-3)


def test_box_controls_are_refused() -> None:
    lived = wandered(5)
    controls = Controls(kind="box", width=3, low=(-1.0,) * 3, high=(1.0,) * 3)
    boxed = replace(lived, layout=LAYOUT.model_copy(update={"controls": controls}))
    with pytest.raises(ShapeError, match="box controls have landmarks"):
        to_go(Line(), boxed.seen_ND, boxed, SETTINGS, seed=0)
