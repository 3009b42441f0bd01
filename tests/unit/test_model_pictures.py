"""What a model's pictures show is what its numbers say, whatever its world shows and takes."""

from __future__ import annotations

import struct
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from runtime.models.pictures import Subject, draw
from tests.jepa_worlds import CONFIG, spring
from tests.lived import line, lived
from world_model.experience import Experience
from world_model.frozen import learn_linear
from world_model.jepa.fit import fit
from world_model.plan.landmarks import Landmarks
from world_model.views import cost_grid, costs, far_end, plane_of

ALL = ["paths.png", "landmarks.png", "cost-to-go.png", "reliability.png"]


def corridor() -> Experience:
    """Walks around a wall, whose achieved goal is where they are: from (0, 0) up, across and down to (4, 0)."""
    around = line((0, 0), (0, 4), (4, 4), (4, 0), steps=20)
    walked = lived([around + 0.05 * number for number in range(6)])
    layout = walked.layout.model_copy(update={"parts": walked.layout.parts, "goal": 2})
    seen_ND = np.hstack([walked.seen_ND, walked.seen_ND])
    columns = {name: getattr(walked, name) for name in ("done_NA", "reward_N", "episode_N", "session_N", "position_N")}
    return Experience(layout=layout, seen_ND=seen_ND, **columns)


def size(picture: Path) -> tuple[int, int]:
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_the_plane_of_two_goal_columns_is_the_goal_itself() -> None:
    experience = corridor()
    landmarks = Landmarks.of(experience.seen_ND[:, -2:], experience, seed=0)
    plane = plane_of(experience.layout, landmarks)
    assert plane.exact
    np.testing.assert_array_equal(plane(landmarks.nodes_LG), landmarks.nodes_LG)
    assert plane.labels[0].startswith("achieved goal, column 1 (")


def test_without_a_goal_the_plane_is_where_landmarks_vary_most() -> None:
    walk = line((0, 0), (10, 1), steps=40)
    walked = lived([np.hstack([walk, 0.01 * walk[:, ::-1]])] * 2)
    landmarks = Landmarks.of(walked.seen_ND, walked, seed=0)
    plane = plane_of(walked.layout, landmarks)
    drawn = plane(landmarks.nodes_LG)
    assert not plane.exact
    assert "principal axis 1 (100% of the variance)" in plane.labels[0]
    assert np.ptp(drawn[:, 0]) == pytest.approx(np.ptp(np.linalg.norm(landmarks.nodes_LG, axis=1)), rel=1e-3)
    assert np.abs(drawn.mean(axis=0)).max() < 1e-9


def test_a_grid_costs_what_its_landmarks_cost_and_nothing_where_nobody_was() -> None:
    experience = corridor()
    landmarks = Landmarks.of(experience.seen_ND[:, -2:], experience, seed=0)
    end = np.linalg.norm(landmarks.nodes_LG - (4.0, 0.0), axis=1).argmin()
    grid = cost_grid(landmarks, landmarks.toward(landmarks.nodes_LG[end]))
    x, y = (np.abs(axis - at).argmin() for axis, at in ((grid.x_X, 2.0), (grid.y_Y, 1.0)))
    assert np.isnan(grid.cost_YX[y, x])  # inside the wall
    here = np.abs(grid.x_X - 0.0).argmin(), np.abs(grid.y_Y - 0.0).argmin()
    there = np.abs(grid.x_X - 4.0).argmin(), np.abs(grid.y_Y - 0.0).argmin()
    assert grid.cost_YX[here[1], here[0]] > grid.cost_YX[there[1], there[0]] + 30  # around the wall, not through it


def test_the_far_end_is_the_landmark_that_takes_the_longest_from_most() -> None:
    experience = corridor()
    landmarks = Landmarks.of(experience.seen_ND[:, -2:], experience, seed=0)
    graph: nx.DiGraph[int] = nx.DiGraph()
    edges = landmarks.edges.tocoo()
    graph.add_weighted_edges_from(zip(edges.row.tolist(), edges.col.tolist(), edges.data.tolist(), strict=True))
    goal = far_end(landmarks)
    to_goal = nx.single_source_dijkstra_path_length(graph.reverse(), goal)
    reach = {node: len(nx.ancestors(graph, node)) for node in graph}
    assert reach[goal] >= np.median(list(reach.values())) - 1
    found = costs(landmarks.toward(landmarks.nodes_LG[goal]), landmarks.nodes_LG)
    for node, decisions in to_goal.items():
        assert found[node] <= decisions + 1e-3


def test_a_world_with_a_goal_is_drawn_in_it_and_without_the_log_in_part(tmp_path: Path) -> None:
    experience = corridor()
    model = learn_linear(experience)
    landmarks = Landmarks.of(model.outcomes(experience), experience, seed=0)
    held_out = experience.of_sessions(np.array([5]))
    drawn = draw(Subject("corridor", model, landmarks, held_out, model), tmp_path)
    assert [path.name for path in drawn] == ALL
    assert all(min(size(path)) > 500 for path in drawn)
    part = draw(Subject("corridor", model, landmarks), tmp_path)
    assert [path.name for path in part] == ["landmarks.png", "cost-to-go.png"]


def test_a_goal_of_one_column_is_drawn_over_decisions_and_a_latent_along_its_principal_axes(tmp_path: Path) -> None:
    one = spring(rows=600)
    layout = one.layout.model_copy(update={"goal": 0})
    columns = {name: getattr(one, name) for name in ("done_NA", "episode_N", "session_N", "position_N")}
    none = Experience(layout=layout, seen_ND=one.seen_ND[:, :2], reward_N=one.seen_ND[:, 0], **columns)
    for name, experience in (("one", one), ("none", none)):
        (tmp_path / name).mkdir()
        model = fit(experience, CONFIG, steps=60, seed=0).model
        landmarks = Landmarks.of(model.outcomes(experience), experience, seed=0)
        subject = Subject(name, model, landmarks, experience.of_sessions(np.arange(3)), learn_linear(experience))
        found = [path.name for path in draw(subject, tmp_path / name)]
        assert found == ([ALL[0], *ALL[2:]] if name == "one" else ALL)
