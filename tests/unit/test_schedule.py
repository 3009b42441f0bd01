"""When a fleet learns by itself, asked of logs of real sessions: after so many episodes, or when surprise has risen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.entry import entered
from runtime.learning.scheduled.schedule import WINDOW, Mark, Sessions, Tally, level, mark_of
from runtime.scenario import Schedule
from telemetry.events import learn
from telemetry.log import EventLog, open_log
from tests.local import Local
from tests.taught import training_of
from tests.trained import line, linear
from tests.worlds import Line

EPISODES, CYCLES = 4, 600
SHORT = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 6, episodes = %d }
memory = { recall = 0 }
"""
OTHER = SHORT.replace('"line"', '"other"')


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schedule") / "tiny"
    linear(folder)
    return folder


@pytest.fixture
def astray() -> Iterator[Callable[[float], None]]:
    """Moves the world of `AetherLine-v0`, under the same name, until the test ends."""

    def move(by: float) -> None:
        Line.drift = by

    yield move
    Line.drift = 0.0


def counted(log: EventLog, schedule: Schedule, *, name: str = "maze") -> Tally:
    tally = Tally(schedule, mark_of(log, name), Sessions(log, "line"))
    tally.follow(log)
    return tally


def long_line(model: Path) -> str:
    """Sessions that move at random and foresee by frozen weights."""
    return line(model, reasoner="explore", frames=10).replace("episodes = 9", "episodes = 999")


# --- episodes ---------------------------------------------------------------------------------------


def test_episodes_are_counted_since_the_last_training_read_the_log(local: Local) -> None:
    local.run("a", SHORT % EPISODES)
    assert counted(local.log, Schedule(episodes=EPISODES)).due == (
        f"{EPISODES} episodes ended since the last training read the log; {EPISODES} are asked for"
    )
    read = local.log.position()
    local.run("b", SHORT % (EPISODES - 1))  # while it trained: it learnt nothing of these
    entered(local.log, training_of("maze@0123456789ab", read), refs=(), run="t")
    tally = counted(local.log, Schedule(episodes=EPISODES))
    assert (tally.episodes, tally.due) == (EPISODES - 1, None)
    local.run("c", SHORT % 1)
    tally.follow(local.log)
    assert tally.due is not None


def test_episodes_of_other_scenarios_count_for_nothing(local: Local) -> None:
    local.run("a", OTHER % EPISODES)
    local.run("b", SHORT % 1)
    assert counted(local.log, Schedule(episodes=2)).episodes == 1


def test_a_tally_that_follows_bit_by_bit_is_one_that_reads_all_at_once(local: Local) -> None:
    tally = Tally(Schedule(episodes=3, drift_nats=1.0), Mark(0, 0), Sessions(local.log, "line"))
    for name in "abc":
        local.run(name, SHORT % 1, cycles=4)
        tally.follow(local.log)
    whole = counted(local.log, Schedule(episodes=3, drift_nats=1.0))
    assert (tally.episodes, tally.surprises, tally.first, tally.position) == (
        whole.episodes,
        whole.surprises,
        whole.first,
        whole.position,
    )
    assert tally.surprises > 0


# --- surprise ---------------------------------------------------------------------------------------


def test_a_world_that_moves_otherwise_raises_surprise_and_a_training_is_due(
    local: Local, model: Path, astray: Callable[[float], None]
) -> None:
    local.run("before", long_line(model), cycles=WINDOW + 60)
    astray(0.4)
    local.run("after", long_line(model), cycles=WINDOW + 60, seed=8)
    tally = counted(local.log, Schedule(drift_nats=0.5))
    assert tally.risen is not None
    assert tally.risen.mean > 0.5
    assert tally.due is not None
    assert "surprise has risen by" in tally.due
    assert counted(local.log, Schedule(drift_nats=tally.risen.mean + 0.1)).due is None


def test_a_world_that_stays_as_it_is_asks_for_nothing(local: Local, model: Path) -> None:
    local.run("before", long_line(model), cycles=WINDOW + 60)
    local.run("after", long_line(model), cycles=WINDOW + 60, seed=8)
    tally = counted(local.log, Schedule(drift_nats=0.5))
    assert tally.risen is not None
    assert abs(tally.risen.mean) < 0.5 + 2 * tally.risen.error
    assert tally.due is None


def test_before_there_are_two_windows_nothing_is_said_of_surprise(local: Local, model: Path) -> None:
    local.run("a", long_line(model), cycles=WINDOW + 60)
    assert counted(local.log, Schedule(drift_nats=0.01)).risen is None


def test_after_a_verdict_surprise_is_measured_anew(local: Local, model: Path, astray: Callable[[float], None]) -> None:
    local.run("before", long_line(model), cycles=WINDOW + 60)
    said = learn.ModelRejected(model="maze@0123456789ab", incumbent="explore@0", figures={}, why="no better")
    entered(local.log, said, refs=(), run="t")
    astray(0.4)
    local.run("after", long_line(model), cycles=WINDOW + 60, seed=8)
    tally = counted(local.log, Schedule(drift_nats=0.5))
    assert tally.surprises == len(local.events("after", "sense.surprised"))
    assert tally.risen is None


def test_a_few_wild_surprises_move_the_mean_of_a_window_by_little() -> None:
    calm = [0.1 * (place % 10) for place in range(WINDOW)]
    wild = [*calm[:-12], *[400.0] * 12]
    assert abs(level(wild).mean - level(calm).mean) < 0.1


def test_a_log_without_models_counts_from_its_beginning(tmp_path: Path) -> None:
    with closing(open_log(tmp_path / "log.db")) as log:
        assert mark_of(log, "maze") == Mark(0, 0)
