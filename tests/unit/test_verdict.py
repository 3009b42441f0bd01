"""Each clause of the rule decides, and says why."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.learning.judging.sequential import Design
from runtime.learning.judging.verdict import HeldOut, Judgement, Outcome, Pair, foresees, judge, judge_apart
from tests.outcomes import BUDGET, outcome, pairs, steps

DESIGN = Design()
AS_GOOD = HeldOut(0.40, 0.40)
RNG = np.random.default_rng(11)
SURE = steps(RNG, (160,), fails=0.0, mean=14)
SHAKY = steps(RNG, (160,), fails=0.4, mean=25)


def judged(found: list[Pair], *, look: int = 40, held_out: HeldOut = AS_GOOD) -> Judgement:
    return judge(found, DESIGN, look=look, budget=BUDGET, held_out=held_out)


def test_a_candidate_that_needs_far_fewer_steps_is_promoted_at_the_first_look() -> None:
    found = judged(pairs(SURE[:40], SHAKY[:40]))
    assert found.decision == "promote"
    assert found.figures["gain_bound"] > 0
    assert "steps instead of" in found.why
    assert "its success 1.00 instead of" in found.why


def test_the_figures_say_both_arms_with_their_intervals() -> None:
    found = judged(pairs(SURE[:40], SHAKY[:40])).figures
    for name in ("success", "steps", "success_before", "steps_before", "gain"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert found["gain"] == pytest.approx(found["steps_before"] - found["steps"])
    assert (found["pairs"], found["left_out"]) == (40, 0)
    assert found["level"] == DESIGN.levels[0]
    assert (found["error_over_copy"], found["error_over_copy_before"]) == (0.40, 0.40)
    assert "nats" not in found  # nothing was predicted


def test_surprise_is_told_where_there_was_any() -> None:
    found = judged([Pair(Outcome(True, 10, nats=-1.0), Outcome(True, 10, nats=1.0))] * 40).figures
    assert (found["nats"], found["nats_before"]) == (-1.0, 1.0)


def test_the_same_outcomes_are_judged_the_same() -> None:
    assert judged(pairs(SURE[:40], SHAKY[:40])) == judged(pairs(SURE[:40], SHAKY[:40]))


def test_pairs_that_were_left_out_are_told() -> None:
    found = judged(pairs(SURE[:38], SHAKY[:38])).figures
    assert (found["pairs"], found["left_out"]) == (38, 2)


@pytest.mark.parametrize(("look", "decision"), [(40, "go_on"), (80, "go_on"), (160, "reject")])
def test_what_is_no_better_is_looked_at_again_until_the_last_look_rejects_it(look: int, decision: str) -> None:
    found = judged(pairs(SHAKY[:look], np.roll(SHAKY[:look], 1)), look=look)
    assert found.decision == decision
    assert "that it needs fewer is not shown" in found.why


def test_what_is_clearly_worse_is_rejected_at_once() -> None:
    found = judged(pairs(SHAKY[:40], SURE[:40]))
    assert found.decision == "reject"
    assert "it is worse" in found.why


def test_a_candidate_that_foresees_worse_by_more_than_a_twentieth_is_rejected_however_fast() -> None:
    found = judged(pairs(SURE[:40], SHAKY[:40]), held_out=HeldOut(0.421, 0.40))
    assert found.decision == "reject"
    assert found.why.endswith("worse by more than 5%")


def test_a_candidate_may_foresee_worse_by_a_twentieth() -> None:
    assert judged(pairs(SURE[:40], SHAKY[:40]), held_out=HeldOut(0.42, 0.40)).decision == "promote"


def test_against_an_incumbent_that_is_no_model_foresight_is_told_and_decides_nothing() -> None:
    found = foresees(HeldOut(3.0, None))
    assert found.decision == "go_on"
    assert "the incumbent is no trained model, so that decides nothing" in found.why
    assert found.figures == {"error_over_copy": 3.0}


def test_a_candidate_that_foresees_nothing_finite_is_rejected_and_no_such_figure_is_told() -> None:
    found = foresees(HeldOut(math.nan, None))
    assert (found.decision, found.figures) == ("reject", {})


def test_a_candidate_that_is_faster_and_succeeds_less_often_is_not_promoted() -> None:
    """It fails 6 of 40 where the incumbent fails 3, and is much faster elsewhere."""
    quick = np.where(np.arange(40) < 6, BUDGET, 5)
    slow = np.where(np.arange(40) >= 37, BUDGET, 50)
    found = judged(pairs(quick, slow))
    assert found.figures["gain_bound"] > 0
    assert found.decision == "go_on"
    assert found.why.endswith("its success 0.85 instead of 0.93 is lower by more than 0.05")


def test_success_may_be_lower_by_the_margin_itself() -> None:
    quick = np.where(np.arange(40) < 5, BUDGET, 5)
    slow = np.where(np.arange(40) >= 37, BUDGET, 50)
    assert judged(pairs(quick, slow)).decision == "promote"


def mixed(canary: np.ndarray, others: np.ndarray) -> list[tuple[bool, Outcome]]:
    """One episode of the canary after each of the others' that fit between."""
    each = len(others) // len(canary)
    found: list[tuple[bool, Outcome]] = []
    for place, taken in enumerate(canary):
        found += [(False, outcome(one)) for one in others[place * each : (place + 1) * each]]
        found.append((True, outcome(taken)))
    return found


def test_a_canary_is_not_judged_before_the_first_look() -> None:
    assert judge_apart([], DESIGN, budget=BUDGET).decision == "go_on"
    found = judge_apart(mixed(SURE[:39], SHAKY[:117]), DESIGN, budget=BUDGET)
    assert (found.decision, found.why) == ("go_on", "39 of 40 episodes on both sides")


def test_a_canary_that_is_better_apart_goes_to_all() -> None:
    found = judge_apart(mixed(SURE[:40], SHAKY[:120]), DESIGN, budget=BUDGET)
    assert found.decision == "promote"
    assert (found.figures["episodes"], found.figures["episodes_before"]) == (40, 120)


def test_a_canary_that_is_worse_is_rejected_at_the_first_look() -> None:
    assert judge_apart(mixed(SHAKY[:40], SURE[:120]), DESIGN, budget=BUDGET).decision == "reject"


def test_between_two_looks_a_canary_is_judged_as_at_the_former() -> None:
    at_look = judge_apart(mixed(SHAKY[:40], SHAKY[40:120]), DESIGN, budget=BUDGET)
    later = judge_apart(mixed(SHAKY[:40], SHAKY[40:120]) + mixed(SURE[:30], SHAKY[:30]), DESIGN, budget=BUDGET)
    assert at_look == later


def test_a_canary_that_is_no_better_after_the_last_look_is_rejected() -> None:
    assert judge_apart(mixed(SHAKY, np.tile(SHAKY, 2)), DESIGN, budget=BUDGET).decision == "reject"
