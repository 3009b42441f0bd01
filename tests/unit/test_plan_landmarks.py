"""Landmarks: what the log connects, in which direction, and what it costs to get from anywhere to what is wanted."""

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from tests.lived import line, lived
from world_model.errors import ShapeError
from world_model.plan.cost import Euclidean, Indifferent, step_scale
from world_model.plan.field import Field
from world_model.plan.landmarks import SPACING, Landmarks


def test_the_cost_to_go_is_that_of_networkx_on_random_directed_graphs() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(2, 40))
        weights = np.where(rng.random((count, count)) < 0.08, rng.uniform(0.1, 9, (count, count)), 0)
        np.fill_diagonal(weights, 0)
        nodes = rng.normal(size=(count, 3))
        landmarks = Landmarks(nodes, np.ones(3), csr_array(weights), np.zeros(count, dtype=np.bool_))
        targets = np.full(count, np.inf)
        targets[rng.choice(count, size=min(2, count), replace=False)] = rng.uniform(0, 3, min(2, count))

        graph: nx.DiGraph[int | str] = nx.DiGraph()
        graph.add_nodes_from([*range(count), "wanted"])
        graph.add_weighted_edges_from(
            (int(i), int(j), float(weights[i, j])) for i, j in zip(*np.nonzero(weights), strict=True)
        )
        graph.add_weighted_edges_from(
            (int(i), "wanted", float(targets[i])) for i in np.flatnonzero(np.isfinite(targets))
        )
        found = nx.single_source_dijkstra_path_length(graph.reverse(), "wanted")
        expected = [found.get(node, np.inf) for node in range(count)]
        assert landmarks.decisions_to(targets) == pytest.approx(expected)


def test_a_way_that_was_only_ever_taken_forwards_costs_the_whole_round_backwards() -> None:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    landmarks = Landmarks.of(
        experience=(experience := lived([np.concatenate([ring, ring])])),
        outcome_NG=experience.seen_ND,
        count=60,
        seed=0,
    )
    field = landmarks.toward(ring[20])
    ahead, behind = field(torch.tensor(np.stack([ring[10], ring[30]]), dtype=torch.float32)).tolist()
    assert ahead == pytest.approx(10, abs=0.5)
    assert behind == pytest.approx(50, abs=0.5)


def test_what_no_episode_connects_is_unreachable_and_dearer_than_all_that_is() -> None:
    here, there = line((0, 0), (10, 0), (10, 1), steps=20), line((0, 5), (10, 5), (10, 6), steps=20)
    experience = lived([here, there])
    landmarks = Landmarks.of(experience.seen_ND, experience, count=40, seed=0)
    field = landmarks.toward((10.0, 1.0))
    above = landmarks.nodes_LG[:, 1] > 2
    assert np.isinf(field.cost_L[above]).all()
    reachable = (landmarks.nodes_LG[:, 1] < 2) & np.isfinite(field.cost_L)
    assert reachable.any()
    elsewhere = field(torch.tensor([[0.0, 5.0], [10.0, 5.0]]))
    assert torch.isfinite(elsewhere).all()
    assert elsewhere.min() > field.cost_L[reachable].max()


def test_a_wall_is_gone_around_and_the_straight_line_does_not_know() -> None:
    experience = lived([line((0, 0), (10, 0), (10, 2), (0, 2), steps=20), line((0, 2), (10, 2), (10, 0), steps=20)])
    landmarks = Landmarks.of(experience.seen_ND, experience, count=60, seed=0)
    start = torch.tensor([0.0, 0.0])
    straight = Euclidean((0.0, 2.0), scale=landmarks.scale_G)(start)
    around = landmarks.toward((0.0, 2.0))(start)
    assert around == pytest.approx(60, abs=2)
    assert straight < 25


def test_near_the_goal_the_field_is_the_plain_distance_in_decisions() -> None:
    walks = [line((0, 0), (10, 0), (0, 0), steps=20), line((5, -5), (5, 5), (5, -5), steps=20)]
    experience = lived(walks)
    landmarks = Landmarks.of(experience.seen_ND, experience, count=25, seed=0)
    goal = (7.13, 0.04)
    near = torch.tensor(goal) + 0.3 * torch.randn((50, 2), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(landmarks.toward(goal)(near), Euclidean(goal, scale=landmarks.scale_G)(near), atol=1e-4)


def test_a_goal_at_hand_is_seen_even_where_no_episode_came_back() -> None:
    experience = lived([line((0, 0), (10, 0), (10, 5), steps=20)])
    landmarks = Landmarks.of(experience.seen_ND, experience, count=40, seed=0)
    field = landmarks.toward((5.0, 0.0))
    just_past, far_past = field(torch.tensor([[5.1, 0.0], [9.0, 0.0]])).tolist()
    assert just_past < 1
    assert far_past > 15


def test_a_goal_beyond_all_that_was_logged_stands_behind_its_nearest_landmark() -> None:
    experience = lived([line((0, 0), (10, 0), steps=20)])
    landmarks = Landmarks.of(experience.seen_ND, experience, count=21, seed=0)
    far = landmarks.toward((14.0, 0.0))
    along = far(torch.tensor([[0.0, 0.0], [5.0, 0.0], [10.0, 0.0], [12.0, 0.0]]))
    assert (along.diff() < 0).all()
    last = far(torch.tensor([10.0, 0.0])).item()
    assert last == pytest.approx(Euclidean((14.0, 0.0), scale=landmarks.scale_G)(torch.tensor([10.0, 0.0])).item())


def test_a_goal_hangs_on_no_place_that_nothing_leads_to() -> None:
    begins_apart = np.concatenate([[[5.0, 1.0]], line((5, 0), (10, 0), steps=10)])
    experience = lived([line((0, 0), (10, 0), (10, 1), steps=20), begins_apart])
    landmarks = Landmarks.of(experience.seen_ND, experience, seed=0)
    field = landmarks.toward((5.0, 0.9))
    assert np.isfinite(field.cost_L[landmarks.nodes_LG[:, 0] < 5]).all()


def test_landmarks_are_no_more_than_it_takes_to_have_one_near_everything() -> None:
    experience = lived([line((0, 0), (10, 0), (10, 10), steps=400)])
    landmarks = Landmarks.of(experience.seen_ND, experience, seed=0)
    apart = np.linalg.norm((experience.seen_ND[:, None] - landmarks.nodes_LG) / landmarks.scale_G, axis=2).min(axis=1)
    assert apart.max() <= SPACING
    few = Landmarks.of(experience.seen_ND, experience, seed=0, count=7)
    assert len(few) == 7 < len(landmarks)


def test_a_worlds_best_rewards_are_preferred_where_it_has_no_goal() -> None:
    walk = line((0, 0), (10, 0), (0, 0), steps=30)
    reward = np.zeros(len(walk))
    reward[29] = 1.0
    experience = lived([walk], rewards=[reward])
    landmarks = Landmarks.of(experience.seen_ND, experience, count=20, seed=0)
    assert landmarks.nodes_LG[landmarks.preferred_L] == pytest.approx(walk[30:31])
    field = landmarks.preferred()
    assert isinstance(field, Field)
    costs = field(torch.tensor([[0.0, 0.0], [5.0, 0.0], [10.0, 0.0]]))
    assert (costs.diff() < 0).all()
    assert costs[-1] == pytest.approx(0, abs=1e-4)


def test_a_world_without_goal_or_reward_prefers_nothing() -> None:
    experience = lived([line((0, 0), (10, 0), steps=30)])
    field = Landmarks.of(experience.seen_ND, experience, count=20, seed=0).preferred()
    assert isinstance(field, Indifferent)
    assert field(torch.ones((2, 3, 2))).tolist() == [[0.0] * 3] * 2


def test_distances_are_in_decisions_whatever_the_units_and_constant_dimensions_say_nothing() -> None:
    rng = np.random.default_rng(0)
    walk = np.concatenate([rng.normal(size=(500, 2)).cumsum(axis=0), np.full((500, 1), 3.0)], axis=1)
    units = np.array([1000.0, 0.001, 5.0])
    plain, other = lived([walk]), lived([walk * units])
    scale, rescaled = step_scale(walk, plain), step_scale(walk * units, other)
    assert rescaled[:2] == pytest.approx(scale[:2] * units[:2])
    assert np.isinf(scale[2])
    steps = np.linalg.norm(np.diff(walk, axis=0) / scale, axis=1)
    assert np.sqrt(np.square(steps).mean()) == pytest.approx(1)
    field = Landmarks.of(walk, plain, count=40, seed=1).toward(walk[100])
    same = Landmarks.of(walk * units, other, count=40, seed=1).toward(walk[100] * units)
    points = torch.tensor(walk[::7], dtype=torch.float32)
    assert torch.allclose(field(points), same(points * torch.tensor(units, dtype=torch.float32)), rtol=1e-3, atol=1e-3)


def test_landmarks_read_back_from_their_arrays_give_the_same_field() -> None:
    experience = lived([line((0, 0), (10, 0), (10, 2), steps=20)])
    landmarks = Landmarks.of(experience.seen_ND, experience, count=30, seed=0)
    again = Landmarks.from_arrays(landmarks.arrays())
    points = torch.rand((40, 2), generator=torch.Generator().manual_seed(0)) * 10
    assert torch.equal(landmarks.toward((10.0, 2.0))(points), again.toward((10.0, 2.0))(points))
    assert landmarks.toward((10.0, 2.0)) is landmarks.toward((10.0, 2.0))


def test_a_goal_of_another_width_and_a_log_that_never_moved_are_refused() -> None:
    experience = lived([line((0, 0), (10, 0), steps=20)])
    landmarks = Landmarks.of(experience.seen_ND, experience, count=5, seed=0)
    with pytest.raises(ShapeError, match=r"a goal of shape \(3,\)"):
        landmarks.toward((1.0, 2.0, 3.0))
    still = lived([np.zeros((5, 2))])
    with pytest.raises(ShapeError, match="no logged decision changed"):
        Landmarks.of(still.seen_ND, still, count=5, seed=0)
