"""The read-out of a moment."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heart.affect import felt
from heart.rules import Rule
from telemetry.events.values import Appraisal, Ground

RULES = (
    Rule(id="lava", reason="burns", virtue="prudence", actions=(2,)),
    Rule(id="noise", reason="people sleep", virtue="kindness", actions=(3,)),
    Rule(id="plain", reason="because", actions=(4,)),
)


def touched(*rules: str) -> Appraisal:
    return Appraisal(
        of="proposal", verdict="refuse", proposal=0, grounds=tuple(Ground(rule=r, reason="x") for r in rules)
    )


def test_a_moment_with_nothing_in_it_feels_like_nothing() -> None:
    moment = felt(reward=None, success=None, percentile=None)
    assert (moment.valence, moment.arousal, moment.virtues) == (0.0, 0.0, {})


def test_success_is_the_best_there_is_and_no_success_yet_is_not_a_failure() -> None:
    assert felt(reward=0.0, success=True, percentile=0.5).valence == 1.0
    assert felt(reward=0.0, success=False, percentile=0.5).valence == 0.0
    assert felt(reward=-1.0, success=False, percentile=0.5).valence == pytest.approx(-math.tanh(1))


def test_a_virtue_is_felt_by_the_share_of_proposals_its_rules_touched() -> None:
    request = Appraisal(of="request", verdict="allow", grounds=(Ground(rule="noise", reason="x"),))
    appraisals = (request, touched("lava"), touched("lava", "plain"), touched(), touched("plain"))
    moment = felt(reward=None, success=None, percentile=0.25, appraisals=appraisals, rules=RULES)
    assert moment.virtues == {"prudence": 0.5, "kindness": 0.0}
    assert moment.arousal == 0.25


@given(reward=st.floats(allow_nan=False, allow_infinity=False), percentile=st.floats(0, 1))
def test_every_figure_stays_in_its_range_with_the_sign_of_the_reward(reward: float, percentile: float) -> None:
    moment = felt(reward=reward, success=None, percentile=percentile)
    assert -1 <= moment.valence <= 1
    assert 0 <= moment.arousal <= 1
    assert math.copysign(1, moment.valence) == math.copysign(1, reward or 0.0)
