"""What replicas are rebuilt from: the transitions and the episode, as the log tells them."""

from __future__ import annotations

import pytest

from loops.context import Context
from loops.errors import Behind
from loops.history import episode, transitions
from loops.models import Learning, Models
from loops.scene import Scene
from loops.spaces import Spaces
from telemetry.errors import LogDamaged
from telemetry.events import Draft, execute, learn, sense, session
from telemetry.events.values import Belief
from telemetry.log import EventLog
from tests.local import Local, folded

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 4, episodes = 9 }
memory = { recall = 0 }
"""


def context(local: Local, name: str) -> Context:
    """The moment at which the session rests."""
    scene = Scene()
    for recorded in local.events(name):
        scene = scene.see(recorded.id, recorded.event)
    return Context(stream=f"session/{name}", state=folded(local.events(name)), scene=scene)


def test_every_transition_that_was_learnt_is_found_and_none_crosses_an_episode(local: Local) -> None:
    local.run("line", LINE, cycles=12)
    found = list(transitions(local.log, "session/line"))
    assert len(found) == len(local.events("line", "learn.belief_updated")) == 9
    for transition in found:
        assert transition.before.episode == transition.after.episode
        assert transition.after.step == transition.before.step + 1
    assert [(t.before.episode, t.before.step) for t in found] == [
        *[(0, n) for n in range(4)],
        *[(1, n) for n in range(4)],
        (2, 0),
    ]


def test_the_current_episode_is_its_first_observation_and_the_actions_since(local: Local) -> None:
    local.run("line", LINE, cycles=8)
    shown, taken = episode(local.log, "session/line")
    seen = [r.event for r in local.events("line", "sense.observed")]
    begins = [o for o in seen if isinstance(o, sense.Observed) and o.step == 0]
    assert shown == begins[-1].digest
    intended = [r.event for r in local.events("line", "execute.intended") if r.cycle >= 6]
    outcomes = [r.event for r in local.events("line", "execute.succeeded") if r.cycle >= 6]
    assert [t.action for t in taken] == [i.action for i in intended if isinstance(i, execute.Intended)]
    assert [t.observed for t in taken] == [o.observed for o in outcomes if isinstance(o, execute.Succeeded)]
    assert len(taken) == 3


def test_an_intent_without_an_outcome_is_not_among_the_actions_taken(local: Local, log: EventLog) -> None:
    local.run("line", LINE, cycles=2)
    _, before = episode(log, "session/line")
    moved = local.events("line", "execute.intended")[-1].event
    assert isinstance(moved, execute.Intended)
    intent = moved.model_copy(update={"effect": "1" * 64})
    local.append("line", Draft(event=intent, command="later", cycle=3))
    assert episode(log, "session/line")[1] == before


def test_a_log_without_the_beginning_of_its_episode_is_damaged(log: EventLog) -> None:
    log.append("session/x", [Draft(event=session.CycleOpened(cycle=1), command="a")], expected_version=0, epoch=1)
    with pytest.raises(LogDamaged, match="try: aether log verify"):
        episode(log, "session/x")


def test_a_model_that_is_behind_refuses_and_a_restored_one_predicts_what_the_first_one_did(
    local: Local,
) -> None:
    local.run("line", LINE, cycles=12)
    moment = context(local, "line")
    with pytest.raises(Behind) as behind:
        Models().of(moment)
    assert behind.value.replica == "world_model"
    restored, paged = Models(), Models()
    past = list(transitions(local.log, "session/line"))
    restored.restore(moment, past, begin=True)
    paged.restore(moment, past[:4], begin=True)
    paged.restore(moment, past[4:], begin=False)
    spread = local.events("line", "learn.belief_updated")[-1].event
    assert isinstance(spread, learn.BeliefUpdated)
    for models in (restored, paged):
        assert Belief(transitions=len(past), spread=models.of(moment).spread) == spread.posterior
    restored.restore(moment, past[:3], begin=True)
    with pytest.raises(Behind):
        restored.of(moment)


def test_a_model_one_transition_behind_learns_it_from_the_scene(local: Local) -> None:
    local.run("line", LINE, cycles=4)
    moment = context(local, "line")
    models = Models()
    models.restore(moment, list(transitions(local.log, "session/line"))[:-1], begin=True)
    outlook = models.of(moment)
    assert isinstance(outlook, Learning)
    assert outlook.model.transitions == moment.state.belief.transitions
    models.forget("session/line")
    with pytest.raises(Behind):
        models.of(moment)


def test_spaces_are_read_back_from_the_first_event(local: Local) -> None:
    local.run("line", LINE, cycles=1)
    first = local.events("line", "session.opened")[0].event
    assert isinstance(first, session.Opened)
    assert context(local, "line").spaces == Spaces.model_validate(first.spaces)
