"""The reducer: it copies what is recorded, stays small, and does not show who ran the session."""

from __future__ import annotations

import ast
import inspect

import pytest

import loops.state
from loops.errors import StateTooLarge
from loops.state import (
    MAX_STATE_BYTES,
    RECENT_SURPRISES,
    Asked,
    OpenEffect,
    SessionState,
    apply,
    state_hash,
)
from telemetry.events import Event, Unknown, execute, feel, learn, reason, sense, session
from telemetry.events.values import Belief, Move, Persistence, canonical, digest_of
from tests.local import Local, folded

ZERO = "0" * 64
MOVE = Move(to=1)
ARGUMENTS = digest_of(MOVE)
LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 4, episodes = 3 }
memory = { recall = 0 }
"""
INTENDED = execute.Intended(effect=ZERO, action=MOVE, arguments=ARGUMENTS, effect_class="replayable")
DISPATCHED = execute.Dispatched(effect=ZERO, executor="x", deadline=5)


def after(*events: Event | Unknown, start: SessionState | None = None) -> SessionState:
    state = start or SessionState()
    for event in events:
        state = apply(state, event)
    return state


def observed(step: int, *, episode: int = 0, ends: bool = False) -> sense.Observed:
    return sense.Observed(digest=ZERO, episode=episode, step=step, ends_episode=ends)


def test_equal_seeds_and_scenarios_end_in_equal_states_and_others_do_not(local: Local) -> None:
    one = local.run("one", LINE, seed=5, cycles=9)
    assert local.run("same", LINE, seed=5, cycles=9).state_hash == one.state_hash
    assert local.run("seed", LINE, seed=6, cycles=9).state_hash != one.state_hash
    assert local.run("scenario", LINE + "\n# other", seed=5, cycles=9).state_hash != one.state_hash


def test_the_recorded_state_hashes_are_those_of_the_fold(local: Local) -> None:
    row = local.run("one", LINE, cycles=9)
    events = local.events("one")
    assert state_hash(folded(events)) == row.state_hash
    closes = [i for i, r in enumerate(events, start=1) if r.type == "session.cycle_closed"]
    assert len(closes) == 9
    for version in closes:
        event = events[version - 1].event
        assert isinstance(event, session.CycleClosed)
        assert event.state_hash == state_hash(folded(events[:version]))


@pytest.mark.parametrize(
    "event",
    [
        session.Resumed(after="interrupted", owner="b/2", verified_to=1),
        session.Suspended(reason="asked to stop", cycles=0, state_hash=ZERO),
        execute.Reconciled(effect=ZERO, cycle=1, happened=True, by="ann", why="saw it"),
        Unknown(type="learn.dreamt", schema_number=1, payload=b"?"),
        Unknown(type="execute.teleported", schema_number=1, payload=b"?"),
        reason.Requested(endpoint="e", model="m", prompt=ZERO),
        feel.Inhibited(proposal=0, arguments=ZERO, rules=("r",)),
    ],
    ids=lambda event: str(event.type),
)
def test_what_does_not_bear_on_what_comes_next_leaves_the_state_as_it_is(event: Event | Unknown) -> None:
    state = after(session.CycleOpened(cycle=1), observed(0), INTENDED)
    assert apply(state, event) == state


def test_the_hash_holds_no_id_version_time_or_epoch() -> None:
    words = {word for name in SessionState.model_fields for word in name.split("_")}
    assert not words & {
        "id",
        "ids",
        "version",
        "at",
        "time",
        "epoch",
        "owner",
        "position",
        "deadline",
        "executor",
    }
    one = after(session.CycleOpened(cycle=1), INTENDED, DISPATCHED)
    other = after(
        session.CycleOpened(cycle=1),
        INTENDED.model_copy(update={"effect": "1" * 64}),
        DISPATCHED.model_copy(update={"executor": "y", "deadline": 99, "effect": "1" * 64}),
    )
    assert state_hash(one) == state_hash(other)


def test_the_reducer_does_no_float_arithmetic() -> None:
    """Its only sums are of counts: every number added or taken away beside a field is the integer 1 or a bool."""
    tree = ast.parse(inspect.getsource(loops.state))
    sums = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp | ast.AugAssign)]
    assert sums
    for node in sums:
        text = ast.unparse(node)
        counts = ("cycles_closed + 1", "episode + 1", "episodes + 1", "step + 1", "remembered + 1", "refused + 1")
        spoken = ("unsensed + 1", "messages + said", "malformed + first", "'0' * 64")
        allowed = text.endswith(counts + spoken) or "bool(" in text or "64 * 1024" in text
        allowed = allowed or " | " in text or "|=" in text
        assert allowed, text
    rewarded = learn.Rewarded(reward=0.1, episode_return=0.7, success=True)
    assert after(rewarded, start=SessionState(episode_return=100.0)).episode_return == 0.7


def test_a_state_above_its_bound_is_refused_where_a_cycle_closes() -> None:
    fits = SessionState(virtues={"v" * 1000: 0.5})
    assert state_hash(fits, at_most=MAX_STATE_BYTES) == state_hash(fits)
    with pytest.raises(StateTooLarge, match=r"is 7\d,\d{3} bytes, the bound is 65,536"):
        state_hash(SessionState(virtues={"v" * 70_000: 0.5}), at_most=MAX_STATE_BYTES)


def test_the_surprises_that_are_kept_are_bounded_and_the_newest_stand_last() -> None:
    surprised = [
        sense.Surprised(error=0.0, nats=float(n), percentile=0.5, model="m@1") for n in range(3 * RECENT_SURPRISES)
    ]
    state = after(*surprised)
    assert state.surprises == tuple(float(n) for n in range(2 * RECENT_SURPRISES, 3 * RECENT_SURPRISES))
    assert len(canonical(state)) < MAX_STATE_BYTES / 8


def test_an_episode_runs_from_its_reset_to_the_observation_that_ends_it() -> None:
    state = after(session.CycleOpened(cycle=1), observed(0))
    assert (state.stage, state.episode, state.step) == ("running", 0, 0)
    state = after(
        INTENDED,
        DISPATCHED,
        execute.Succeeded(effect=ZERO, observed=ZERO, reward=1.0, truncated=True),
        start=state,
    )
    assert (state.stage, state.step, state.effects) == ("ended", 1, ())
    state = after(learn.Rewarded(reward=1.0, episode_return=1.0, success=True, ends_episode=True), start=state)
    assert (state.episodes, state.successes) == (1, 1)
    kept = state.model_copy(update={"persist": Persistence(action=MOVE, remaining=3)})
    state = after(session.CycleOpened(cycle=2), observed(1, ends=True), start=kept)
    assert (state.stage, state.episode, state.step, state.persist) == ("fresh", 1, 0, None)
    state = after(observed(0, episode=1), start=state)
    assert (state.stage, state.episode_return) == ("running", 0.0)


def test_an_effect_is_open_from_its_intent_to_its_outcome() -> None:
    state = after(session.CycleOpened(cycle=4), INTENDED)
    effect = OpenEffect(
        cycle=4, ordinal=0, action=MOVE, arguments=ARGUMENTS, effect_class="replayable", stage="intended"
    )
    assert state.effects == (effect,)
    state = after(DISPATCHED, start=state)
    assert state.effects[0].stage == "dispatched"
    for outcome in (
        execute.Succeeded(effect=ZERO),
        execute.Failed(effect=ZERO, kind="raised", error="e"),
        execute.Cancelled(effect=ZERO, why="w"),
    ):
        assert after(outcome, start=state).effects == ()
    assert after(execute.Failed(effect=ZERO, kind="raised", error="e"), start=state).failed


def test_an_unknown_effect_stays_until_somebody_finds_out() -> None:
    state = after(
        session.CycleOpened(cycle=1),
        INTENDED,
        DISPATCHED,
        execute.UnknownOutcome(effect=ZERO, why="its owner died"),
    )
    state = after(session.CycleOpened(cycle=2), INTENDED, execute.Succeeded(effect=ZERO), start=state)
    assert [(e.cycle, e.stage) for e in state.effects] == [(1, "unknown")]
    known = after(execute.Reconciled(effect=ZERO, cycle=1, happened=True, by="ann", why="saw it"), start=state)
    assert known.effects == ()


def test_an_answer_counts_only_for_the_arguments_that_were_asked_about_and_ends_with_its_cycle() -> None:
    asked = execute.ApprovalAsked(effect=ZERO, action=MOVE, arguments=ARGUMENTS, why="w")
    state = after(session.CycleOpened(cycle=1), asked)
    assert state.waiting
    other = execute.ApprovalGiven(effect=ZERO, arguments=ZERO, granted=True, by="ann")
    assert after(other, start=state) == state
    denied = after(other.model_copy(update={"arguments": ARGUMENTS, "granted": False}), start=state)
    assert (denied.waiting, denied.asked) == (False, Asked(action=MOVE, arguments=ARGUMENTS, granted=False))
    assert after(session.CycleOpened(cycle=2), start=denied).asked is None


def test_what_was_learnt_and_felt_is_copied() -> None:
    belief = Belief(transitions=3, spread=0.25)
    state = after(
        learn.BeliefUpdated(model="m@1", prior=Belief(transitions=2, spread=0.5), posterior=belief),
        feel.Felt(valence=-0.5, arousal=0.25, virtues={"prudence": 1.0}),
        reason.Decided(action=MOVE, arguments=ARGUMENTS, why="w", persist=Persistence(action=MOVE, remaining=2)),
    )
    assert (state.belief, state.valence, state.arousal, state.virtues) == (
        belief,
        -0.5,
        0.25,
        {"prudence": 1.0},
    )
    assert state.persist == Persistence(action=MOVE, remaining=2)
