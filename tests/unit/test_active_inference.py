"""Active inference in the loop: what is planned, proposed and decided, ahead, alone, and after a cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loops.context import Context
from loops.errors import Behind, ScenarioInvalid
from loops.history import transitions
from loops.models import Models, seen
from loops.ports import MAX_OPTIONS
from loops.reasoners.active_inference import ActiveInference
from runtime.replay import replay
from runtime.why import why
from telemetry.events import reason
from telemetry.events.values import Array, Move, digest_of
from tests.local import Cut, Cutter, Local, folded, story
from tests.planned import PLANNING, QUICK, moments, plans
from tests.reruns import one, wall, whole

LINE = """
name = "line"
environment = {{ id = "gymnasium:AetherLine-v0", max_frames = 6, episodes = 9 }}
memory = {{ recall = 0 }}
[reasoner]
kind = "active_inference"
{planning}
[heart]
{heart}
"""
COUNT = f"""
name = "count"
environment = {{ id = "null:" }}
memory = {{ recall = 0 }}
[reasoner]
kind = "active_inference"
{PLANNING}
"""
ROOT = Path(__file__).parents[2]


def line(heart: str = "", planning: str = PLANNING) -> str:
    return LINE.format(heart=heart, planning=planning)


def remembering(local: Local, *contexts: Context) -> Models:
    """Models that know what these sessions had learnt by then."""
    models = Models()
    for context in contexts:
        learnt = list(transitions(local.log, context.stream))[: context.state.belief.transitions]
        models.restore(context, learnt, begin=True)
    return models


def unasked(_: object) -> None:
    raise AssertionError("a planner asks its model itself")


# --- what is recorded -------------------------------------------------------------------------------


def test_every_option_is_recorded_with_its_expected_free_energy_and_the_parts_of_it(local: Local) -> None:
    local.run("s", line(), cycles=12)
    made = plans(local, "s")
    by_cycle: dict[int, list[reason.Proposed]] = {}
    for recorded in local.events("s", "reason.proposed"):
        assert isinstance(recorded.event, reason.Proposed)
        by_cycle.setdefault(recorded.cycle, []).append(recorded.event)
    assert len(made) == len(by_cycle) == len(local.events("s", "reason.decided"))
    for planned, proposed in zip(made, by_cycle.values(), strict=True):
        assert 1 < len(proposed) <= MAX_OPTIONS
        assert [p.proposal for p in proposed] == [w.proposal for w in planned.options] == list(range(len(proposed)))
        assert len({p.arguments for p in proposed}) == len(proposed)
        assert sum(weighed.probability for weighed in planned.options) == pytest.approx(1)
        for weighed, proposal in zip(planned.options, proposed, strict=True):
            assert weighed.energy == proposal.score
            learnt = QUICK.epistemic * weighed.epistemic
            assert weighed.energy == pytest.approx(weighed.pragmatic - learnt, rel=1e-4, abs=1e-4)


def test_what_is_believed_foreseen_and_by_which_model_is_recorded_with_a_plan(local: Local) -> None:
    local.run("s", line(), cycles=12)
    for context, planned in zip(moments(local, "s"), plans(local, "s"), strict=True):
        assert context.scene.observed is not None
        now = seen(context.spaces, context.scene.observed).astype(np.float32)
        assert planned.belief == digest_of(Array.of(now)), "a linear model believes what it sees"
        assert planned.model == "linear-rls@1"
        assert planned.latent is not None
        assert planned.goal is not None
        assert np.array_equal(planned.latent.numpy()[-2:], planned.goal.numpy())


def test_a_plan_is_the_cause_of_its_proposals_and_rests_on_its_model(local: Local) -> None:
    local.run("s", line(), cycles=3)
    ids = {r.id: r for r in local.events("s")}
    for recorded in local.events("s", "reason.planned"):
        assert ids[recorded.cause].type == "feel.appraised"
        assert recorded.refs == '["model:linear-rls@1"]'
    for recorded in local.events("s", "reason.proposed"):
        assert (ids[recorded.cause].type, ids[recorded.cause].cycle) == ("reason.planned", recorded.cycle)


def test_why_says_that_a_decision_comes_from_a_plan(local: Local) -> None:
    local.run("s", line(), cycles=3)
    told = why(local.log, "s").lines()
    assert any("planned    8 options, by the model linear-rls@1" in said for said in told)
    assert any("nats to learn" in said for said in told)


def test_the_state_holds_the_digest_of_the_latest_belief_and_none_where_nothing_was_planned(local: Local) -> None:
    local.run("s", line(), cycles=5)
    assert folded(local.events("s")).believed == plans(local, "s")[-1].belief
    local.run("e", line().replace("active_inference", "explore"), cycles=5)
    assert folded(local.events("e")).believed is None


# --- what is decided --------------------------------------------------------------------------------


def test_the_first_option_that_the_heart_allows_is_taken(local: Local) -> None:
    text = line(heart=wall(at=2.0)).replace("max_frames = 6", "max_frames = 30")
    local.run("s", text, seed=14, cycles=60)
    held = 0
    for recorded in local.events("s", "reason.decided"):
        decided = recorded.event
        assert isinstance(decided, reason.Decided)
        verdicts = [option.verdict for option in decided.options]
        held += verdicts[0] == "refuse" and decided.proposal is not None
        if decided.proposal is None:
            assert "allow" not in verdicts
        else:
            assert verdicts.index("allow") == decided.proposal
    assert held > 0, "nothing was held back, so this shows nothing"


def test_a_discrete_world_without_a_goal_is_explored_for_what_it_would_teach(local: Local) -> None:
    local.run("s", COUNT, cycles=20)
    decided = [r.event for r in local.events("s", "reason.decided")]
    taken = {d.action.to for d in decided if isinstance(d, reason.Decided) and isinstance(d.action, Move)}
    assert taken == {0, 1}
    for planned in plans(local, "s"):
        assert planned.goal is None
        assert {weighed.pragmatic for weighed in planned.options} == {0.0}


@pytest.mark.parametrize("example", ["maze", "lava"])
def test_an_example_runs_with_active_inference_in_place_of_its_reasoner(local: Local, example: str) -> None:
    text = (ROOT / "examples" / f"{example}.toml").read_text(encoding="utf-8")
    kind = 'kind = "active_inference"\n' + PLANNING
    for before in ('kind = "greedy"', 'kind = "explore"'):
        text = text.replace(before, kind)
    row = local.run("s", text.replace("recall = 4", "recall = 0"), cycles=15)
    assert row.outcome in ("cycles", "done")
    assert plans(local, "s")
    assert replay(local.log, "s").agrees


# --- again, after a cut, ahead ----------------------------------------------------------------------


def test_a_session_cut_off_anywhere_makes_the_same_plans_and_decisions(local: Local) -> None:
    commits, calls = Cutter(), Cutter()
    expected = local.run("whole", line(), cycles=6, commits=commits, calls=calls)
    told = story(local.events("whole"))
    for kind, many in (("commits", commits.seen), ("calls", calls.seen)):
        for moment in range(2, many + 1, 3):
            name = f"{kind}-{moment}"
            cutters = {kind: Cutter(at=moment)}
            with pytest.raises(Cut):
                local.run(name, line(), cycles=6, commits=cutters.get("commits"), calls=cutters.get("calls"))
            assert local.run(name, line(), cycles=6).state_hash == expected.state_hash, name
            assert story(local.events(name)) == told, name


def test_a_session_is_covered_whole_by_its_own_policy_on_a_rerun(local: Local) -> None:
    local.run("s", line(heart=wall()), cycles=18)
    assert whole(one(local.log))


def test_active_inference_can_stand_in_for_a_recorded_reasoner(local: Local) -> None:
    local.run("s", line().replace("active_inference", "explore"), cycles=18)
    row = one(local.log, reasoner="active_inference")
    assert row.cycles == len(local.events("s", "reason.decided"))
    assert row.covered < row.cycles


def test_plans_made_ahead_together_are_those_made_alone(local: Local) -> None:
    for n in range(3):
        local.run(f"s{n}", line(), seed=n, cycles=6)
    contexts = [moments(local, f"s{n}")[3 + (n == 2)] for n in range(3)]
    reasoner = ActiveInference(remembering(local, *contexts), QUICK)
    reasoner.ahead(contexts)
    for context in contexts:
        together = reasoner.propose(context, unasked)
        alone = ActiveInference(remembering(local, context), QUICK).propose(context, unasked)
        assert [type(event) for event in together] == [type(event) for event in alone]
        for one_event, other in zip(together, alone, strict=True):
            match one_event, other:
                case (
                    reason.Proposed(action=Move(to=Array() as to), score=score),
                    reason.Proposed(action=Move(to=Array() as other_to), score=other_score),
                ):
                    assert score == pytest.approx(other_score, rel=1e-4)
                    assert np.allclose(to.numpy(), other_to.numpy(), atol=1e-4)
                case reason.Planned(), reason.Planned():
                    assert one_event.belief == other.belief
                case _:
                    raise AssertionError("a plan and its proposals come in one order")


def test_a_plan_made_ahead_serves_its_own_moment_only(local: Local) -> None:
    local.run("s", line(), cycles=8)
    first, second = moments(local, "s")[2:4]
    models = remembering(local, second)
    reasoner = ActiveInference(models, QUICK)
    reasoner.ahead([second])
    models.restore(first, list(transitions(local.log, first.stream))[: first.state.belief.transitions], begin=True)
    assert reasoner.propose(first, unasked) == ActiveInference(models, QUICK).propose(first, unasked)


def test_a_session_whose_replica_is_behind_is_passed_over_when_planning_ahead(local: Local) -> None:
    local.run("s", line(), cycles=8)
    local.run("t", line(), seed=1, cycles=8)
    behind, ready = moments(local, "s")[4], moments(local, "t")[4]
    reasoner = ActiveInference(remembering(local, ready), QUICK)
    reasoner.ahead([behind, ready])
    assert reasoner.propose(ready, unasked)
    with pytest.raises(Behind):
        reasoner.propose(behind, unasked)


# --- what does not fit ------------------------------------------------------------------------------


def test_planning_without_predictions_is_refused(local: Local) -> None:
    with pytest.raises(ScenarioInvalid, match="need predictions, and there are none"):
        local.run("s", line() + "\n[world_model]\nkind = 'none'\n", cycles=2)
    assert not local.types("s")


GREEDY = """
import asyncio, sys, tempfile
from contextlib import closing
from pathlib import Path
from telemetry.log import open_log
from tests.local import Local
with tempfile.TemporaryDirectory() as folder, closing(open_log(Path(folder) / "log.db")) as log:
    local = Local(log)
    row = local.run("s", {text!r}, cycles=20)
    local.close()
    print(row.cycles, "torch" in sys.modules)
"""


def test_a_greedy_session_loads_no_torch_and_a_planning_one_does() -> None:
    for kind, loaded in (("greedy", "False"), ("active_inference", "True")):
        script = GREEDY.format(text=line().replace("active_inference", kind))
        ran = subprocess.run((sys.executable, "-c", script), cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.stdout.split() == ["20", loaded], ran.stderr
