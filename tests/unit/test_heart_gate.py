"""Appraisal of requests and proposals, and what is let through."""

from collections.abc import Mapping
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from heart.errors import RegionMismatch
from heart.gate import Gate
from heart.rules import HeartSettings, OnAsk, Region, Rule
from telemetry.events.values import (
    Action,
    Appraisal,
    Array,
    Move,
    Say,
    ToolCall,
    ToolCalls,
    Verdict,
    Wait,
    digest_of,
)

Seen = Mapping[str, NDArray[np.generic]]
ORDER: tuple[Verdict, ...] = ("allow", "ask", "refuse")

LAVA = Rule(
    id="lava",
    reason="lava burns",
    actions=(2,),
    region=Region(of="image", index=(1, 0, 0), low=9, high=9, at="now"),
)
PIT = Rule(
    id="pit",
    verdict="ask",
    reason="the pit is deep",
    region=Region(of="achieved_goal", low=(0.4, -1.2), high=(1.2, -0.4)),
)
SHELL = Rule(id="shell", verdict="ask", reason="a shell can do anything", tools=("shell",))


def image(ahead: int) -> dict[str, NDArray[np.generic]]:
    cells = np.zeros((2, 1, 3), dtype=np.uint8)
    cells[1, 0, 0] = ahead
    return {"image": cells}


def never(action: Action) -> Seen:
    raise AssertionError(f"nobody needs a forecast of {action!r}")


def appraise(rules: tuple[Rule, ...], action: Action, *, seen: Seen, forecast: Seen | None = None) -> Appraisal:
    answer = never if forecast is None else lambda _: forecast
    return Gate(HeartSettings(rules=rules)).appraise(0, action, digest_of(action), seen=seen, forecast=answer)


def test_walking_into_lava_is_refused_with_its_reason_and_turning_is_not() -> None:
    forward, turn = Move(to=2), Move(to=0)
    refused = appraise((LAVA,), forward, seen=image(9))
    assert (refused.verdict, refused.proposal, refused.arguments) == ("refuse", 0, digest_of(forward))
    assert [(g.rule, g.reason) for g in refused.grounds] == [("lava", "lava burns")]
    assert appraise((LAVA,), turn, seen=image(9)).verdict == "allow"
    assert appraise((LAVA,), forward, seen=image(1)).verdict == "allow"


def test_a_region_is_inclusive_at_its_bounds() -> None:
    move = Move(to=Array.of([0.0, 0.0]))
    for place, verdict in (([0.4, -0.4], "ask"), ([1.2, -1.2], "ask"), ([1.2001, -1.0], "allow")):
        ahead = {"achieved_goal": np.array(place)}
        assert appraise((PIT,), move, seen={}, forecast=ahead).verdict == verdict


def test_a_bound_left_out_is_open() -> None:
    deep = Rule(id="deep", reason="too deep", region=Region(of="depth", low=3, at="now"))
    assert appraise((deep,), Wait(), seen={"depth": np.array([1e30])}).verdict == "refuse"
    assert appraise((deep,), Wait(), seen={"depth": np.array([2.9])}).verdict == "allow"


def test_what_is_not_a_number_cannot_be_shown_to_lie_outside() -> None:
    ahead = {"achieved_goal": np.array([np.nan, -0.8])}
    assert appraise((PIT,), Wait(), seen={}, forecast=ahead).verdict == "ask"


def test_a_tool_among_parallel_calls_needs_approval() -> None:
    calls = ToolCalls(calls=(ToolCall(id="1", tool="search"), ToolCall(id="2", tool="shell")))
    assert appraise((SHELL,), calls, seen={}).verdict == "ask"
    assert appraise((SHELL,), ToolCalls(calls=(ToolCall(id="1", tool="search"),)), seen={}).verdict == "allow"
    assert appraise((SHELL,), Say(text="shell"), seen={}).verdict == "allow"


def test_the_gravest_verdict_counts_and_every_rule_that_applies_is_named() -> None:
    anywhere = Rule(id="still", verdict="ask", reason="stay", actions=(2,))
    appraisal = appraise((anywhere, LAVA), Move(to=2), seen=image(9))
    assert appraisal.verdict == "refuse"
    assert [ground.rule for ground in appraisal.grounds] == ["still", "lava"]


def test_the_forecast_is_asked_once_and_only_when_a_rule_turns_on_it() -> None:
    asked: list[Action] = []

    def forecast(action: Action) -> Seen:
        asked.append(action)
        return {"achieved_goal": np.array([9.0, 9.0])}

    forward_only = PIT.model_copy(update={"id": "forward", "actions": (2,)})
    gate = Gate(HeartSettings(rules=(forward_only, PIT.model_copy(update={"actions": (2,)}))))
    gate.appraise(0, Move(to=1), digest_of(Move(to=1)), seen={}, forecast=forecast)
    assert asked == []
    gate.appraise(0, Move(to=2), digest_of(Move(to=2)), seen={}, forecast=forecast)
    assert asked == [Move(to=2)]


def test_a_rule_that_looks_ahead_where_nothing_forecasts_is_an_error_and_not_a_pass() -> None:
    gate = Gate(HeartSettings(rules=(PIT,)))
    assert gate.needs_forecast
    with pytest.raises(RegionMismatch, match="nothing forecasts here"):
        gate.appraise(0, Wait(), digest_of(Wait()), seen={}, forecast=None)
    with pytest.raises(RegionMismatch, match="nothing forecasts here"):
        gate.check({"achieved_goal": np.zeros(2)}, forecast=None)


@pytest.mark.parametrize(
    ("region", "says"),
    [
        (Region(of="imgae", low=1, at="now"), "there is: image"),
        (Region(of="image", index=(2, 0, 0), low=1, at="now"), r"shape \(2, 1, 3\)"),
        (Region(of="image", index=(0,), low=1, at="now"), r"shape \(2, 1, 3\)"),
        (Region(of="image", low=(1, 2), at="now"), "has 6 elements, its bounds list 2"),
    ],
)
def test_a_region_that_fits_nothing_seen_is_an_error_from_the_start(region: Region, says: str) -> None:
    gate = Gate(HeartSettings(rules=(Rule(id="r", reason="why", region=region),)))
    with pytest.raises(RegionMismatch, match=says):
        gate.check(image(0), forecast=None)
    with pytest.raises(ValueError, match=says):
        gate.appraise(0, Wait(), digest_of(Wait()), seen=image(0), forecast=None)


def test_constraints_are_the_reasons_of_the_rules_that_could_apply_here() -> None:
    gate = Gate(HeartSettings(rules=(LAVA, PIT, SHELL)))
    _, far = gate.appraise_request(("get to the goal",), image(0))
    allowed, near = gate.appraise_request(("get to the goal",), image(9))
    assert far == ("the pit is deep", "a shell can do anything")
    assert near == ("lava burns", "the pit is deep", "a shell can do anything")
    assert (allowed.of, allowed.verdict, allowed.proposal) == ("request", "allow", None)


def test_a_request_is_refused_where_a_rule_forbids_every_action() -> None:
    stop = Rule(id="stop", reason="somebody stands there", region=Region(of="person", low=1, at="now"))
    gate = Gate(HeartSettings(rules=(stop,)))
    appraisal, constraints = gate.appraise_request((), {"person": np.array(1)})
    assert appraisal.verdict == "refuse"
    assert constraints == ("somebody stands there",)


def judged(*verdicts: Verdict) -> list[Appraisal]:
    return [Appraisal(of="proposal", verdict=v, proposal=10 + i) for i, v in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("on_ask", "proposal", "verdict", "held"),
    [("wait", 11, "ask", [10]), ("safest", 12, "allow", [10, 11]), ("refuse", None, "refuse", [10, 11])],
)
def test_what_must_be_asked_is_waited_for_passed_over_or_ends_the_walk(
    on_ask: OnAsk, proposal: int | None, verdict: Verdict, held: list[int]
) -> None:
    selection = Gate(HeartSettings(on_ask=on_ask)).select(judged("refuse", "ask", "allow"))
    assert (selection.proposal, selection.verdict) == (proposal, verdict)
    assert [appraisal.proposal for appraisal in selection.inhibited] == held


VERDICTS = st.lists(st.sampled_from(ORDER), max_size=8)
ON_ASK = st.sampled_from(get_args(OnAsk))


@given(verdicts=VERDICTS, on_ask=ON_ASK)
def test_a_refused_proposal_is_never_taken_and_one_to_ask_about_only_to_ask(
    verdicts: list[Verdict], on_ask: OnAsk
) -> None:
    ranked = judged(*verdicts)
    selection = Gate(HeartSettings(on_ask=on_ask)).select(ranked)
    taken = [a for a in ranked if a.proposal == selection.proposal]
    if not taken:
        assert (selection.proposal, selection.verdict) == (None, "refuse")
        return
    assert taken[0].verdict == selection.verdict != "refuse"
    assert selection.verdict == "allow" or on_ask == "wait"
    # Everything better was held back, and was not allowed.
    assert list(selection.inhibited) == ranked[: ranked.index(taken[0])]
    assert all(a.verdict != "allow" for a in selection.inhibited)


@given(verdicts=VERDICTS)
def test_with_safest_the_best_allowed_proposal_is_taken_whenever_there_is_one(verdicts: list[Verdict]) -> None:
    selection = Gate(HeartSettings(on_ask="safest")).select(judged(*verdicts))
    assert selection.proposal == (10 + verdicts.index("allow") if "allow" in verdicts else None)


@given(rules=st.lists(st.tuples(st.sampled_from(("ask", "refuse")), st.integers(0, 3)), max_size=6))
def test_another_rule_never_makes_a_verdict_milder(rules: list[tuple[str, int]]) -> None:
    all_rules = tuple(
        Rule.model_validate({"id": str(i), "verdict": verdict, "reason": "why", "actions": [action]})
        for i, (verdict, action) in enumerate(rules)
    )
    grave = [ORDER.index(appraise(all_rules[:n], Move(to=1), seen={}).verdict) for n in range(len(rules) + 1)]
    assert grave == sorted(grave)
