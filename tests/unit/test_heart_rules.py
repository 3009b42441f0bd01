"""What a scenario may tell the heart, and what it is told when it is wrong."""

import tomllib

import pytest
from pydantic import ValidationError

from heart.rules import HeartSettings, Region, Rule

SCENARIO = """
on_ask = "safest"

[[rules]]
id = "lava"
reason = "lava burns"
virtue = "prudence"
actions = [2]
region = { of = "image", index = [3, 5, 0], low = 9, high = 9, at = "now" }

[[rules]]
id = "pit"
verdict = "ask"
reason = "the pit is deep"
region = { of = "achieved_goal", low = [0.4, -1.2], high = [1.2, -0.4] }
"""


def test_rules_are_read_from_toml_as_a_scenario_writes_them() -> None:
    heart = HeartSettings.model_validate(tomllib.loads(SCENARIO))
    lava, pit = heart.rules
    assert heart.on_ask == "safest"
    assert lava.actions == (2,)
    assert lava.verdict == "refuse"
    assert lava.region == Region(of="image", index=(3, 5, 0), low=9.0, high=9.0, at="now")
    assert pit.region == Region(of="achieved_goal", low=(0.4, -1.2), high=(1.2, -0.4), at="forecast")


def test_without_words_the_heart_waits_for_answers_and_forbids_nothing() -> None:
    assert HeartSettings() == HeartSettings(on_ask="wait", rules=())


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"id": "r", "reason": "why"}, "at least one of actions, tools, region"),
        ({"id": "r", "reason": "why", "actions": [1], "tools": ["rm"]}, "could never apply"),
        ({"id": "r", "reason": "why", "actions": []}, "at least 1 item"),
        ({"id": "r", "reason": "", "actions": [1]}, "at least 1 character"),
        ({"id": "r", "reason": "why", "action": [1]}, "Extra inputs are not permitted"),
        ({"id": "r", "reason": "why", "verdict": "allow", "actions": [1]}, "'refuse' or 'ask'"),
        ({"id": "r", "reason": "why", "actions": [1], "where": {"x": {"is": 1}}}, "where without tools"),
        ({"id": "r", "reason": "why", "tools": ["rm"], "where": {"x": {}}}, "at least one of is, is_not"),
        ({"id": "r", "reason": "why", "tools": ["rm"], "offer": ""}, "at least 1 character"),
        ({"id": "r", "reason": "why", "region": {"of": "p"}}, "needs a low or a high bound"),
        ({"id": "r", "reason": "why", "region": {"of": "p", "low": 2, "high": 1}}, "low 2 is above high 1"),
        ({"id": "r", "reason": "why", "region": {"of": "p", "low": [0, 3], "high": 2}}, "low 3 is above high 2"),
        ({"id": "r", "reason": "why", "region": {"of": "p", "low": [0], "high": [1, 2]}}, "1 low bounds and 2"),
        ({"id": "r", "reason": "why", "region": {"of": "p", "low": []}}, "empty list"),
        ({"id": "r", "reason": "why", "region": {"of": "p", "index": [0], "low": [1]}}, "single numbers"),
        ({"id": "r", "reason": "why", "region": {"of": "p", "index": [-1], "low": 1}}, "greater than or equal to 0"),
        ({"id": "r", "reason": "why", "region": {"of": "p", "low": float("nan")}}, "finite number"),
    ],
)
def test_a_rule_that_could_not_be_meant_is_refused_in_words(rule: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Rule.model_validate(rule)


def test_two_rules_of_one_id_are_refused() -> None:
    rule = Rule(id="lava", reason="burns", actions=(2,))
    with pytest.raises(ValidationError, match="two rules have the id 'lava'"):
        HeartSettings(rules=(rule, rule))


def test_a_question_is_open_for_ever_unless_a_time_is_given_for_it() -> None:
    assert HeartSettings().approval_timeout_s is None
    assert HeartSettings(approval_timeout_s=60).approval_timeout_s == 60
    with pytest.raises(ValidationError, match="greater than 0"):
        HeartSettings(approval_timeout_s=0)
