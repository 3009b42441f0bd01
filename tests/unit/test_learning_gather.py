"""Which sessions a round has, how many moves they made, and what is still to be run."""

from __future__ import annotations

import pytest

from runtime.learning.gather import gathered
from telemetry.events import Draft, session
from tests.local import Cut, Cutter, Local

MAZE = """\
name = "maze"
seed = 7
[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 60
[reasoner]
kind = "explore"
[memory]
when = "never"
recall = 0
"""


def test_moves_of_the_scenario_are_counted_from_a_position_on(local: Local) -> None:
    local.run("a", MAZE, cycles=4)
    middle = local.log.position()
    local.run("b", MAZE, cycles=3)
    local.run("c", MAZE.replace('"maze"', '"other"', 1), cycles=5)
    everything, later = gathered(local.log, "maze", since=0), gathered(local.log, "maze", since=middle)
    made = {name: len(local.events(name, "execute.succeeded")) for name in "ab"}
    assert (everything.moves, everything.made_by, everything.sessions) == (sum(made.values()), 2, 2)
    assert (later.moves, later.made_by, later.sessions) == (made["b"], 1, 2)
    assert everything.unfinished == ()


def test_a_session_that_was_cut_off_or_rests_is_still_to_be_ended(local: Local) -> None:
    local.run("ended", MAZE, cycles=2)
    local.run("rests", MAZE, stop=lambda: True)
    with pytest.raises(Cut):
        local.run("cut", MAZE, commits=Cutter(at=9))
    assert set(gathered(local.log, "maze", since=0).unfinished) == {"rests", "cut"}


def test_evaluations_are_neither_counted_nor_taken_up(local: Local) -> None:
    local.run("a", MAZE, cycles=2)
    before = gathered(local.log, "maze", since=0)
    first = local.events("a", "session.opened")[0].event
    assert isinstance(first, session.Opened)
    opened = Draft(event=first.model_copy(update={"purpose": "evaluation"}), command="open")
    local.log.append("session/judged", [opened], expected_version=0, epoch=1)
    assert gathered(local.log, "maze", since=0) == before
