"""The environments of one process: acted in once, rebuilt from the log when they are gone."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from loops.context import Context
from loops.environments import EnvironmentSettings, make_environment
from loops.errors import Behind, Diverged, EnvironmentFailed
from loops.percept import Percept
from loops.scene import Scene
from loops.state import SessionState
from loops.worlds import Taken, Worlds
from telemetry.events.values import Move
from tests import worlds as registered

registered.register()
STREAM = "session/w"


def counting() -> Worlds:
    return Worlds(lambda: make_environment(EnvironmentSettings(id="null:", max_frames=4)))


def at(step: int, *, episode: int = 0, stage: str = "running") -> Context:
    state = SessionState.model_validate({"step": step, "episode": episode, "stage": stage, "seed": 1})
    return Context(stream=STREAM, state=state, scene=Scene())


def begun(worlds: Worlds) -> Percept:
    return worlds.perceive(at(0, stage="fresh"))


def test_an_action_is_taken_once_however_often_it_is_asked_for() -> None:
    worlds = counting()
    begun(worlds)
    first = worlds.act(at(0), Move(to=1))
    assert worlds.act(at(0), Move(to=1)) == first
    assert worlds.perceive(at(1)) == first
    assert worlds.act(at(1), Move(to=1)).digest != first.digest


def test_a_world_at_another_moment_than_the_session_refuses_to_answer() -> None:
    worlds = counting()
    with pytest.raises(Behind):
        worlds.perceive(at(0))
    with pytest.raises(Behind):
        worlds.act(at(0), Move(to=1))
    begun(worlds)
    worlds.act(at(0), Move(to=1))
    for context in (at(2), at(0, episode=1), at(1, episode=1)):
        with pytest.raises(Behind) as behind:
            worlds.act(context, Move(to=0))
        assert (behind.value.replica, behind.value.stream) == ("environment", STREAM)
    with pytest.raises(Behind):
        worlds.act(at(0), Move(to=0))


def test_a_rebuilt_world_stands_where_the_first_one_stood() -> None:
    first, second = counting(), counting()
    shown = begun(first).digest
    taken = [Taken(Move(to=to), first.act(at(step), Move(to=to)).digest) for step, to in enumerate((1, 0))]
    second.restore(at(2), shown, iter(taken))
    assert second.perceive(at(2)) == first.perceive(at(2))
    assert second.act(at(2), Move(to=1)) == first.act(at(2), Move(to=1))


def test_a_world_that_answers_otherwise_says_after_how_many_actions() -> None:
    first = counting()
    shown = begun(first).digest
    taken = [Taken(Move(to=1), first.act(at(0), Move(to=1)).digest), Taken(Move(to=1), shown)]
    with pytest.raises(Diverged, match=r"after 2 actions the simulator shows .*The log is intact") as diverged:
        counting().restore(at(2), shown, taken)
    assert diverged.value.recorded == shown
    again = pickle.loads(pickle.dumps(diverged.value))  # noqa: S301  it crosses processes so
    assert (str(again), again.recorded, again.shown) == (str(diverged.value), shown, diverged.value.shown)
    with pytest.raises(Diverged, match="after 0 actions"):
        counting().restore(at(0), "0" * 64, [])


def test_a_world_whose_effects_must_not_be_repeated_is_not_rebuilt() -> None:
    worlds = Worlds(lambda: make_environment(EnvironmentSettings(id="gymnasium:AetherRobot-v0")))
    with pytest.raises(EnvironmentFailed, match="unsafe effects must not be repeated") as lost:
        worlds.restore(at(0), "0" * 64, [])
    assert lost.value.kind == "lost"


def test_a_closed_world_is_made_anew_and_closing_an_unknown_one_does_nothing() -> None:
    worlds = counting()
    worlds.close("session/never")
    shown = begun(worlds)
    worlds.close(STREAM)
    with pytest.raises(Behind):
        worlds.perceive(at(0))
    assert begun(worlds) == shown
    assert worlds.describe(STREAM)[1] == "replayable"


def test_every_episode_of_a_session_begins_with_a_seed_of_its_own() -> None:
    worlds = Worlds(lambda: make_environment(EnvironmentSettings(id="gymnasium:AetherLine-v0")))
    starts = {worlds.perceive(at(0, episode=n, stage="fresh")).digest for n in range(5)}
    assert len(starts) == 5
    other = at(0, stage="fresh")
    other = replace(other, state=other.state.model_copy(update={"seed": 2}))
    assert worlds.perceive(other).digest not in starts
