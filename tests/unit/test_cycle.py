"""One cycle: the order of its phases, its barriers, and what a person or the heart may stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heart.gate import Gate
from loops.context import Context
from loops.effects import SETTLE, effect_key
from loops.execute import ask, intend
from loops.scene import Scene
from loops.spaces import DiscreteActions, Spaces
from loops.state import SessionState
from telemetry.events import Draft, Recorded, execute, feel, learn, reason, sense, session
from telemetry.events.values import Action, Appraisal, ArrayObservation, Move, Option, Wait, digest_of
from tests.local import Local
from tests.worlds import ACTS, watch_log

COUNT = """
name = "count"
environment = { id = "null:" }
memory = { recall = 0 }
[reasoner]
hold = 1
"""
LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 4, episodes = 2, options = { mark = "cycle" } }
memory = { when = "always", recall = 0 }
"""
LAVA = (Path(__file__).parents[2] / "examples" / "lava.toml").read_text(encoding="utf-8")
FORWARD, LAVA_CELL, AHEAD = 2, 9, (3, 5, 0)


def rule(verdict: str, actions: str, on_ask: str) -> str:
    return f"""
    {COUNT}
    [heart]
    on_ask = "{on_ask}"
    [[heart.rules]]
    id = "careful"
    verdict = "{verdict}"
    reason = "that one is precious"
    actions = {actions}
    """


def by_cycle(events: list[Recorded]) -> dict[int, list[Recorded]]:
    found: dict[int, list[Recorded]] = {}
    for recorded in events:
        found.setdefault(recorded.cycle, []).append(recorded)
    return found


def test_a_cycle_senses_feels_reasons_executes_and_learns_in_this_order(local: Local) -> None:
    local.run("line", LINE, cycles=3)
    third = [r.type for r in by_cycle(local.events("line"))[3]]
    options = third.count("reason.proposed")
    assert 1 <= options <= 8
    assert third[:-2] == [
        "session.cycle_opened",
        "sense.observed",
        "sense.surprised",
        "feel.felt",
        "feel.appraised",
        *["reason.proposed"] * options,
        *["feel.appraised"] * options,
        "reason.predicted",
        "reason.decided",
        "execute.intended",
        "execute.dispatched",
        "execute.succeeded",
        "learn.rewarded",
        "learn.belief_updated",
        "learn.remembered",
        "session.cycle_closed",
    ]
    assert tuple(third[-2:]) == ENDING


def test_the_cycle_that_senses_the_end_of_an_episode_only_learns(local: Local) -> None:
    local.run("line", LINE, cycles=5)
    fifth = [r.type for r in by_cycle(local.events("line"))[5]]
    assert fifth[:4] == ["session.cycle_opened", "sense.observed", "sense.surprised", "learn.belief_updated"]
    assert not [kind for kind in fifth if kind.startswith(("feel.", "reason.", "execute."))]


def test_the_intent_and_its_dispatch_are_on_disk_when_the_environment_is_asked_to_act(local: Local) -> None:
    seen: list[list[str]] = []
    watch_log("cycle", Path(local.log.url), seen.append)
    local.run("line", LINE, cycles=4)
    assert len(seen) == 4
    for acts, on_disk in enumerate(seen, start=1):
        assert on_disk[-2:] == ["execute.intended", "execute.dispatched"]
        assert on_disk.count("execute.intended") == acts
        assert on_disk.count("execute.succeeded") == acts - 1


ENDING = ("learn.session_reviewed", "session.closed")
"""What follows the last cycle."""


def test_a_cycle_is_two_commits_when_it_acts_and_one_when_it_does_not(local: Local) -> None:
    local.run("line", LINE, cycles=5)
    ends = [r for r in local.events("line") if r.type in ("execute.dispatched", "session.cycle_closed")]
    assert [r.type for r in ends] == [
        *["execute.dispatched", "session.cycle_closed"] * 4,
        "session.cycle_closed",
    ]
    assert {r.at for r in local.events("line") if r.cycle == 5 and r.type not in ENDING} == {ends[-1].at}
    first = [r.at for r in by_cycle(local.events("line"))[1]]
    assert len(set(first)) == 2


def test_every_cause_and_reference_points_to_an_earlier_event_that_leads_to_this_kind(local: Local) -> None:
    leads_to = {
        "sense.observed": {"session.cycle_opened"},
        "sense.surprised": {"reason.predicted"},
        "feel.felt": {"sense.surprised", "sense.observed"},
        "feel.appraised": {"sense.observed", "reason.proposed"},
        "feel.inhibited": {"feel.appraised"},
        "feel.alternative_offered": {"feel.inhibited"},
        "reason.proposed": {"feel.appraised"},
        "reason.predicted": {"reason.proposed"},
        "reason.decided": {"reason.proposed"},
        "execute.intended": {"reason.decided"},
        "execute.dispatched": {"execute.intended"},
        "execute.succeeded": {"execute.dispatched"},
        "learn.rewarded": {"execute.succeeded"},
        "learn.remembered": {"sense.observed"},
        "learn.belief_updated": {"sense.observed"},
        "session.cycle_closed": {"session.cycle_opened"},
    }
    local.run("lava", LAVA, seed=11, cycles=30)
    events = local.events("lava")
    known = {r.id: r for r in events}
    told = set()
    for recorded in events:
        if recorded.type in leads_to and not (recorded.type == "reason.decided" and not recorded.cause):
            cause = known[recorded.cause]
            assert cause.version < recorded.version
            assert cause.type in leads_to[recorded.type], recorded.type
            assert cause.cycle == recorded.cycle or recorded.type == "sense.surprised"
            told.add(recorded.type)
        if recorded.type in ("reason.predicted", "learn.belief_updated"):
            assert recorded.refs == '["model:linear-rls@1"]'
    assert told == set(leads_to)


def test_an_appraisal_names_its_own_proposal_as_cause_and_its_rules_as_references(local: Local) -> None:
    local.run("lava", LAVA, seed=11, cycles=30)
    events = local.events("lava")
    known = {r.id: r.event for r in events}
    referred = set()
    for recorded in events:
        event = recorded.event
        if isinstance(event, feel.Appraised) and event.appraisal.proposal is not None:
            proposed = known[recorded.cause]
            assert isinstance(proposed, reason.Proposed)
            assert (proposed.proposal, proposed.arguments) == (
                event.appraisal.proposal,
                event.appraisal.arguments,
            )
            referred.add(recorded.refs)
        if isinstance(event, reason.Decided) and event.proposal is not None:
            proposed = known[recorded.cause]
            assert isinstance(proposed, reason.Proposed)
            assert proposed.action == event.action
    assert referred == {"[]", '["rule:no-lava"]'}


def test_lava_ahead_is_never_walked_into_and_holding_back_is_recorded_with_what_was_done_instead(
    local: Local,
) -> None:
    local.run("lava", LAVA, seed=11, cycles=60)
    inhibitions = 0
    ahead = False
    tempted: list[int] = []
    offered: Action | None = None
    for recorded in local.events("lava"):
        match recorded.event:
            case sense.Observed(observations=observations):
                image = next(o for o in observations if isinstance(o, ArrayObservation) and o.name == "image")
                ahead = int(image.array.numpy()[AHEAD]) == LAVA_CELL
                tempted, offered = [], None
            case reason.Proposed(proposal=proposal, action=Move(to=to)) if to == FORWARD and ahead:
                tempted.append(proposal)
            case feel.Inhibited(proposal=proposal, rules=rules):
                inhibitions += 1
                assert (ahead, [proposal], rules) == (True, tempted, ("no-lava",))
            case feel.AlternativeOffered(instead_of=instead_of, action=action):
                assert [instead_of] == tempted
                assert action != Move(to=FORWARD)
                offered = action
            case reason.Decided(action=decided):
                assert not (ahead and decided == Move(to=FORWARD))
                assert offered is None or decided == offered
    assert inhibitions == 5, "this scenario no longer meets lava"


def test_a_session_ends_with_its_budget_and_says_so(local: Local) -> None:
    row = local.run("count", COUNT, cycles=3)
    assert (row.status, row.outcome, row.cycles) == ("closed", "cycles", 3)
    last = local.events("count")[-1].event
    assert isinstance(last, session.Closed)
    assert (last.reason, last.cycles, last.state_hash) == ("cycles", 3, row.state_hash)


def test_a_session_without_a_budget_ends_with_its_episodes(local: Local) -> None:
    row = local.run("line", LINE)
    assert (row.outcome, row.cycles) == ("done", 10)
    ends = [r.event.ends_episode for r in local.events("line") if isinstance(r.event, learn.Rewarded)]
    assert ends == [False] * 3 + [True] + [False] * 3 + [True]


def test_a_closed_session_stays_as_it_is_when_it_is_run_again(local: Local) -> None:
    first = local.run("count", COUNT, cycles=3)
    assert local.run("count", COUNT, cycles=9) == first


@pytest.mark.parametrize("granted", [True, False])
def test_a_session_that_must_ask_rests_until_a_person_answers(local: Local, granted: bool) -> None:
    text = rule("ask", "[0, 1]", "wait")
    row = local.run("asks", text, cycles=1)
    assert row.status == "waiting"
    assert local.types("asks")[-2:] == ["execute.approval_asked", "session.suspended"]
    asked = local.events("asks")[-2].event
    assert isinstance(asked, execute.ApprovalAsked)
    assert asked.why == "careful: that one is precious"
    assert local.run("asks", text, cycles=1).status == "waiting", "asking again must not answer for the person"
    assert local.types("asks").count("execute.approval_asked") == 1
    given = execute.ApprovalGiven(effect=asked.effect, arguments=asked.arguments, granted=granted, by="ann")
    local.append("asks", Draft(event=given, command="approve", cycle=1))
    row = local.run("asks", text, cycles=1)
    assert (row.status, row.cycles) == ("closed", 1)
    done = [r.event for r in local.events("asks", "execute.intended")]
    assert len(done) == granted
    if granted:
        assert isinstance(done[0], execute.Intended)
        assert (done[0].effect, done[0].arguments) == (asked.effect, asked.arguments)


def test_an_answer_for_other_arguments_is_no_answer(local: Local) -> None:
    text = rule("ask", "[0, 1]", "wait")
    local.run("asks", text, cycles=1)
    asked = local.events("asks", "execute.approval_asked")[0].event
    assert isinstance(asked, execute.ApprovalAsked)
    other = digest_of(Move(to=7))
    given = execute.ApprovalGiven(effect=asked.effect, arguments=other, granted=True, by="ann")
    local.append("asks", Draft(event=given, command="approve", cycle=1))
    assert local.run("asks", text, cycles=1).status == "waiting"
    assert "execute.intended" not in local.types("asks")


def test_on_ask_safest_takes_the_best_that_needs_no_asking(local: Local) -> None:
    local.run("safe", rule("ask", "[1]", "safest"), cycles=6)
    decided = [r.event for r in local.events("safe", "reason.decided")]
    assert {d.action for d in decided if isinstance(d, reason.Decided)} == {Move(to=0)}
    assert len(decided) == 6
    assert "execute.approval_asked" not in local.types("safe")
    assert "feel.alternative_offered" in local.types("safe")


def test_on_ask_refuse_does_nothing_in_the_cycle_in_which_it_would_have_to_ask(local: Local) -> None:
    local.run("refuse", rule("ask", "[0, 1]", "refuse"), cycles=3)
    decided = [r.event for r in local.events("refuse", "reason.decided")]
    assert [(d.action, d.proposal) for d in decided if isinstance(d, reason.Decided)] == [(Wait(), None)] * 3
    assert not [kind for kind in local.types("refuse") if kind.startswith("execute.")]


def test_when_everything_is_refused_the_session_waits_and_still_ends(local: Local) -> None:
    row = local.run("none", rule("refuse", "[0, 1]", "wait"), cycles=3)
    assert (row.outcome, row.cycles) == ("cycles", 3)
    assert "execute.intended" not in local.types("none")
    held = [r.event for r in local.events("none", "feel.inhibited")]
    assert len(held) == 6


def decided(verdict: str, *, judged: Action) -> Context:
    """A moment at which Move(to=1) is decided on, and `judged` has been appraised with `verdict`."""
    action = Move(to=1)
    scene = Scene(
        spaces=Spaces(observation=(), action=DiscreteActions(n=2)),
        appraisals=(
            Appraisal.model_validate(
                {"of": "proposal", "verdict": verdict, "proposal": 0, "arguments": digest_of(judged)}
            ),
        ),
        decided=reason.Decided(
            proposal=0,
            action=action,
            arguments=digest_of(action),
            options=(Option(proposal=0, verdict="allow"),),
            why="a test",
        ),
    )
    return Context(stream="session/x", state=SessionState(cycle=4), scene=scene)


@pytest.mark.parametrize(("verdict", "judged"), [("refuse", Move(to=1)), ("ask", Move(to=1)), ("allow", Move(to=0))])
def test_execute_refuses_a_decision_without_an_allowing_appraisal_of_exactly_its_arguments(
    verdict: str, judged: Action
) -> None:
    with pytest.raises(AssertionError, match="no allowing appraisal"):
        intend(decided(verdict, judged=judged), classes=("replayable",), executor="x", deadline=1)


def test_an_allowed_decision_is_intended_and_dispatched_under_one_key() -> None:
    context = decided("allow", judged=Move(to=1))
    intended, dispatched = intend(context, classes=("unsafe",), executor="me", deadline=9)
    assert isinstance(intended, execute.Intended)
    assert isinstance(dispatched, execute.Dispatched)
    assert intended.effect == dispatched.effect == ask(context, until=None).effect
    assert (intended.effect_class, dispatched.executor, dispatched.deadline) == ("unsafe", "me", 9)


def test_the_heart_of_the_lava_scenario_looks_at_the_cell_ahead_and_not_beside_it() -> None:
    from runtime.scenario import parse_scenario

    gate = Gate(parse_scenario(LAVA, source="lava.toml").scenario.heart)
    image = np.zeros((7, 7, 3), dtype=np.uint8)
    for cell, verdict in (((3, 5, 0), "refuse"), ((3, 4, 0), "allow"), ((2, 5, 0), "allow")):
        seen = image.copy()
        seen[cell] = LAVA_CELL
        action = Move(to=FORWARD)
        judged = gate.appraise(0, action, digest_of(action), seen={"image": seen}, forecast=None)
        assert judged.verdict == verdict


def test_nothing_acts_twice_or_unseen(local: Local) -> None:
    ACTS.clear()
    local.run("line", LINE, cycles=10)
    assert ACTS["cycle"] == local.types("line").count("execute.succeeded") == 8


def test_an_effects_key_names_where_it_was_decided_and_exactly_what_it_is() -> None:
    same: dict[str, Any] = {
        "stream": "session/a",
        "cycle": 3,
        "proposal": 0,
        "ordinal": 0,
        "arguments": "0" * 64,
    }
    other: list[dict[str, Any]] = [
        {"stream": "session/b"},
        {"cycle": 4},
        {"proposal": None},
        {"proposal": 1},
        {"ordinal": 1},
        {"arguments": "1" * 64},
    ]
    keys = {effect_key(**{**same, **change}) for change in ({}, *other)}
    assert len(keys) == 1 + len(other)
    assert effect_key(**same) == effect_key(**same)


def test_only_effects_that_may_be_repeated_are_repeated() -> None:
    again = {name for name, how in SETTLE.items() if how == "again"}
    assert again == {"pure", "read", "keyed", "replayable"}
    assert {name for name, how in SETTLE.items() if how == "unknown"} == {"unsafe"}
