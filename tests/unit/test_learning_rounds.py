"""What is learnt follows from the scenario, and what fails says what is intact."""

from __future__ import annotations

import pytest

from runtime.errors import Unavailable, UsageError
from runtime.learning.course import course_of
from runtime.learning.gather import Stopped
from runtime.learning.rounds import _stopping
from runtime.models.standing import followed
from runtime.scenario import ScenarioFile, parse_scenario

MAZE = """\
name = "umaze"
environment = { id = "gymnasium:PointMaze_UMaze-v3" }
"""
TALK = """\
name = "talk"
environment = { id = "tools:examples.refund.shop:shop" }
"""


def scenario(text: str) -> ScenarioFile:
    return parse_scenario(text, source="scenario")


def test_a_scenario_that_says_how_it_is_learnt_from_stays_as_it_is() -> None:
    file = scenario(MAZE + '[learning]\nmodel = "walker"\ntransitions = 10\n')
    course = course_of(file, "x.toml")
    assert course.file is file
    assert (course.name, course.settings.transitions) == ("walker", 10)


def test_one_that_does_not_is_learnt_from_by_the_defaults_and_its_sessions_follow() -> None:
    file = scenario(MAZE)
    assert followed(file.scenario) is None
    course = course_of(file, "x.toml")
    assert course.name == "umaze" == followed(course.file.scenario)
    assert course.file.text.startswith(MAZE)
    assert (course.settings.transitions, course.settings.pairs) == (6000, (40, 80, 160))


def test_a_conversation_has_no_moves_to_learn_from() -> None:
    with pytest.raises(UsageError, match="learns from moves"):
        course_of(scenario(TALK), "x.toml")


def test_a_model_that_would_be_called_like_a_reasoner_is_refused() -> None:
    with pytest.raises(UsageError, match="greedy"):
        course_of(scenario(MAZE + '[learning]\nmodel = "greedy"\n'), "x.toml")


def test_what_stops_a_round_says_what_is_intact_and_keeps_its_exit_code() -> None:
    with pytest.raises(Stopped) as caught, _stopping(3, "its model was trained", "the sessions are whole"):
        raise Unavailable("no node has a GPU")
    assert caught.value.exit_code == 6
    assert str(caught.value) == (
        "round 3 stopped while its model was trained: no node has a GPU\n"
        "Intact: the sessions are whole. The same command goes on there"
    )
