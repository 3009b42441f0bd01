"""What the world model's benchmarks rest on: intervals, the true simulator, raw results that are used again."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.world_model.__main__ import asked
from benchmarks.world_model.bodies import Bodies, Lived, experience_of
from benchmarks.world_model.coverage import cells_of
from benchmarks.world_model.episodes import BEYOND_SESSIONS, Will, at_random, held_out_seeds, planned
from benchmarks.world_model.gather import LOG, SECONDS, gather, place_of, scenario
from benchmarks.world_model.kept import Row, once, read
from benchmarks.world_model.mazes import MAZES, Name, world
from benchmarks.world_model.simulator import Simulator
from benchmarks.world_model.statistics import paired_difference, rate
from benchmarks.world_model.table import latest, table
from loops.layouts import layout_of
from loops.randomness import derive
from telemetry.log import open_log
from tests.local import Local
from world_model.layout import Controls, Layout, Part
from world_model.plan.cost import Euclidean
from world_model.plan.settings import PlanSettings

QUICK = PlanSettings(horizon=4, candidates=8, iterations=2, elites=3)


@pytest.mark.parametrize(("succeeded", "of"), [(0, 10), (7, 10), (88, 100), (100, 100)])
def test_the_interval_of_a_rate_is_wilsons_as_scipy_has_it(succeeded: int, of: int) -> None:
    found = rate([1] * succeeded + [0] * (of - succeeded))
    expected = stats.binomtest(succeeded, of).proportion_ci(0.95, method="wilson")
    assert found == pytest.approx((succeeded / of, expected.low, expected.high), abs=1e-12)


def test_the_interval_of_a_paired_difference_is_the_bootstraps_as_scipy_has_it() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random(300) < 0.7
    ours = theirs | (rng.random(300) < 0.3)
    found = paired_difference(ours, theirs)
    differences = ours.astype(float) - theirs.astype(float)
    expected = stats.bootstrap((differences,), np.mean, method="percentile", n_resamples=10_000, rng=rng)
    interval = expected.confidence_interval
    assert found.value == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.006)


def test_a_difference_of_equal_outcomes_is_zero_with_no_interval() -> None:
    assert paired_difference([1, 0, 1], [1, 0, 1]) == (0, 0, 0)


def test_results_are_measured_once_for_a_key_and_anew_for_another(tmp_path: Path) -> None:
    asked: list[int] = []

    def measure() -> list[Row]:
        asked.append(1)
        return [{"pair": 0, "success": True}, {"pair": 1, "success": False}]

    first = once("success", {"model": "a"}, measure, folder=tmp_path)
    assert once("success", {"model": "a"}, measure, folder=tmp_path) == first
    assert len(asked) == 1
    once("success", {"model": "b"}, measure, folder=tmp_path)
    assert len(asked) == 2
    assert len(read(tmp_path / "success.jsonl")) == 4


def test_results_that_were_cut_off_while_written_are_measured_again(tmp_path: Path) -> None:
    rows: list[Row] = [{"pair": 0}, {"pair": 1}]
    whole = once("success", {"model": "a"}, lambda: rows, folder=tmp_path)
    path = tmp_path / "success.jsonl"
    path.write_text(path.read_text()[:-5])
    again = once("success", {"model": "a"}, lambda: rows, folder=tmp_path)
    assert [row["pair"] for row in again] == [row["pair"] for row in whole] == [0, 1]


@pytest.mark.parametrize("gain", [None, 0.8])
def test_the_simulator_foresees_what_the_environment_does(gain: float | None) -> None:
    where = world("medium", gain=gain)
    with Bodies(where, 3) as bodies, Simulator(where) as simulator:
        bodies.reset([1, 2, 3])
        rng = np.random.default_rng(0)
        done_BTA = np.repeat(rng.uniform(-1, 1, (3, 6, 2)), 4, axis=1).astype(np.float32)
        start_BZ = torch.from_numpy(np.stack([simulator.believe(*bodies.history(body, 1)) for body in range(3)]))
        foreseen = simulator.rollout(start_BZ, torch.from_numpy(done_BTA)[:, None]).outcome_BNHG[:, 0].numpy()
        for step in range(24):
            bodies.act(done_BTA[bodies.active, step])
        for lived, outcome_HG in zip(bodies.lived(), foreseen, strict=True):
            # The step that succeeds is cut short, so it is left out.
            steps = len(lived.done_TA) - int(lived.success)
            assert steps > 3
            np.testing.assert_allclose(lived.seen_TD[1 : steps + 1, -2:], outcome_HG[:steps], atol=1e-4)


def test_a_weaker_actuator_moves_a_body_less_far() -> None:
    reached = []
    for gain in (0.8, 1.2):
        with Bodies(world("umaze", gain=gain), 1) as bodies:
            bodies.reset([5])
            bodies.act(np.ones((1, 2), dtype=np.float32))
            lived = bodies.lived()[0]
            reached.append(float(np.linalg.norm(lived.seen_TD[1, :2] - lived.seen_TD[0, :2])))
    assert reached[0] < reached[1]


@pytest.mark.parametrize("maze", ["umaze", "medium", "large"])
def test_goals_lie_only_where_they_are_said_to_and_starts_everywhere(maze: Name) -> None:
    of = MAZES[maze]
    assert {*of.seen_goals} | {*of.new_goals} == {*of.cells}
    assert not {*of.seen_goals} & {*of.new_goals}
    with Bodies(world(maze, goals=of.seen_goals), 40) as bodies:
        bodies.reset(range(40))
        goals = {of.cell(*map(float, bodies.desired(body))) for body in range(40)}
        starts = {of.cell(*map(float, lived.seen_TD[0, -2:])) for lived in bodies.lived()}
    assert goals <= {*of.seen_goals}
    assert starts & {*of.new_goals}


def test_bodies_that_are_never_stopped_begin_in_one_cell_and_go_on_at_the_goal() -> None:
    maze = MAZES["umaze"]
    with Bodies(world("umaze", start=maze.cells[0], endless=True, max_frames=10_000), 2, past_success=True) as bodies:
        bodies.reset([0, 1])
        assert cells_of("umaze", bodies.lived()) == 1
        for _ in range(70):
            bodies.act(np.ones((2, 2), dtype=np.float32))
        assert bodies.active == [0, 1]


def test_no_held_out_reset_seed_can_be_drawn_by_a_session() -> None:
    seeds = held_out_seeds(100, seed=0, use="success")
    assert len({*seeds}) == 100
    assert min(seeds) >= BEYOND_SESSIONS > derive(0, "episode", 0)
    assert not {*seeds} & {*held_out_seeds(100, seed=1, use="success")}


def test_side_by_side_an_episode_goes_as_it_goes_alone() -> None:
    where = world("umaze")
    will = Will(lambda goal: Euclidean(goal, scale=np.ones(2)), QUICK)
    seeds = held_out_seeds(3, seed=0, use="a test")
    with Simulator(where) as simulator:
        together = planned(where, seeds, simulator, will)
        alone = [planned(where, [seed], simulator, will)[0] for seed in seeds]
    assert [(one.success, len(one.done_TA)) for one in together] == [(one.success, len(one.done_TA)) for one in alone]


def test_a_body_that_moves_at_random_keeps_its_control_for_some_decisions() -> None:
    lived = at_random(world("umaze"), [1, 2, 3, 4], hold=4)
    kept = [np.all(one.done_TA[1:] == one.done_TA[:-1], axis=1).mean() for one in lived if len(one.done_TA) > 20]
    assert kept
    assert 0.4 < float(np.mean(kept)) < 0.95


def test_what_was_lived_becomes_experience_with_a_session_for_each_piece() -> None:
    layout = Layout(
        parts=(Part(name="x", shape=(1,), dtype="float64"),),
        goal=1,
        controls=Controls(kind="box", width=1, low=(-1.0,), high=(1.0,)),
    )
    lived = [
        Lived(np.zeros((n + 1, 2), np.float32), np.ones((n, 1), np.float32), np.zeros(1), success=False) for n in (5, 3)
    ]
    whole = experience_of(layout, lived)
    assert (whole.transitions, len({*whole.session_N})) == (8, 2)
    cut = experience_of(layout, lived, piece=3)
    assert [*map(int, cut.session_N)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert cut.transitions == 6


def test_what_sessions_lived_is_read_from_their_log_and_the_last_of_them_are_held_out(tmp_path: Path) -> None:
    where = world("umaze", goals=MAZES["umaze"].seen_goals)
    text = scenario(where, seed=3, sessions=3, cycles=12, episode_frames=25)
    place = place_of("umaze", text, tmp_path)
    place.mkdir(parents=True)
    with closing(open_log(place / LOG)) as log, closing(Local(log)) as local:
        for session in range(3):
            assert local.run(f"{session:012x}", text, seed=session, cycles=12).cycles == 12
    (place / SECONDS).write_text("1.5")
    found = gather("umaze", where, seed=3, sessions=2, held_out=1, cycles=12, episode_frames=25, folder=tmp_path)
    assert found.learnt.transitions > found.held_out.transitions > 8
    assert found.learnt.layout.goal == 2
    assert found.seconds == 1.5


def test_the_table_shows_each_cell_with_its_interval_and_the_last_whole_set_of_a_seed(tmp_path: Path) -> None:
    def row(cell: str, seed: int, name: str, *, success: bool, of: int = 2) -> Row:
        return {
            "maze": "umaze",
            "cell": cell,
            "seed": seed,
            "set": name,
            "of": of,
            "success": success,
            "use": "success",
        }

    rows = [
        row("jepa_graph", 0, "old", success=False),
        row("jepa_graph", 0, "old", success=False),
        *(row("jepa_graph", seed, f"new{seed}", success=True) for seed in (0, 0, 1, 1)),
        row("jepa_graph", 1, "cut off", success=False),
        {**row("jepa_graph", 0, "other", success=False, of=1), "use": "robustness"},
    ]
    path = tmp_path / "success.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert len(latest(rows)["umaze", "jepa_graph"]) == 4
    assert "| JEPA, graph (the default) | 1.000 [0.510, 1.000] (n = 4) |" in table(path)


def test_layout_of_a_maze_has_a_goal_of_two_columns() -> None:
    with Bodies(world("umaze"), 1) as bodies:
        layout = layout_of(bodies.spaces)
        assert layout is not None
        assert (layout.goal, layout.width, layout.controls.width) == (2, 6, 2)


def test_the_command_measures_all_parts_where_none_is_named_and_only_those_that_are() -> None:
    assert asked([]).part == []
    assert asked(["success", "planning", "--maze", "umaze"]).part == ["success", "planning"]
