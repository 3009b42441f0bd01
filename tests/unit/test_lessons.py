"""What a world model learns from is what the log tells: each transition once, no episode crossed, positions kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from loops.errors import NothingToLearn, SpacesDiffer
from loops.history import transitions
from loops.layouts import layout_of
from loops.lessons import Lessons, Source, read_lessons
from loops.spaces import Spaces, flatten
from runtime.fork import fork
from runtime.sessions import opened
from telemetry.events import Draft, Event, execute, sense
from telemetry.log import EventLog
from tests.local import Cut, Cutter, Local

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 4, episodes = 9 }
memory = { recall = 0 }
"""
LAVA = """
name = "lava"
environment = { id = "gymnasium:MiniGrid-LavaGapS5-v0", max_frames = 20, episodes = 2, success = "reward" }
memory = { recall = 0 }
"""


def lessons(log: EventLog, *names: str) -> Lessons:
    return read_lessons(log, [source(log, name) for name in names])


def retell(local: Local, told: str, name: str, *, before: Callable[[int], None] = lambda _: None) -> None:
    """The events of the session `told` once more, as those of the session `name`."""
    for place, recorded in enumerate(local.events(told)):
        event = recorded.event
        assert isinstance(event, Event)
        before(place)
        draft = Draft(event=event, command=f"retold.{place}", cycle=recorded.cycle)
        local.log.append(f"session/{name}", [draft], expected_version=place, epoch=1)


def source(log: EventLog, name: str) -> Source:
    return Source(f"session/{name}", opened(log, f"session/{name}"))


def test_every_transition_is_read_as_the_world_model_learnt_it(local: Local) -> None:
    local.run("a", LINE, cycles=12)
    found = lessons(local.log, "a").experience
    spaces = Spaces.model_validate(opened(local.log, "session/a").spaces)
    learnt = list(transitions(local.log, "session/a"))
    begins = np.flatnonzero(found.steps_N)
    assert found.transitions == len(begins) == len(learnt) == 9
    for row, transition in zip(begins, learnt, strict=True):
        before, after = (
            flatten(spaces, seen.observations, seen.goal) for seen in (transition.before, transition.after)
        )
        np.testing.assert_allclose(found.seen_ND[row], before, rtol=1e-6)
        np.testing.assert_allclose(found.seen_ND[row + 1], after, rtol=1e-6)
        np.testing.assert_allclose(found.done_NA[row], spaces.action.vector(transition.action), rtol=1e-6)
    assert not found.done_NA[~found.steps_N].any()


def test_a_row_says_where_on_the_log_its_observation_stands_and_what_the_move_after_it_brought(local: Local) -> None:
    local.run("a", LINE, cycles=12)
    found = lessons(local.log, "a").experience
    by_position = {recorded.position: recorded.event for recorded in local.events("a")}
    assert all(isinstance(by_position[int(position)], sense.Observed) for position in found.position_N)
    outcomes = [r.event for r in local.events("a", "execute.succeeded")]
    brought = [outcome.reward for outcome in outcomes if isinstance(outcome, execute.Succeeded)]
    assert found.reward_N[found.steps_N].tolist() == pytest.approx(brought[: found.transitions])


def test_sessions_stand_apart_and_the_range_on_the_log_covers_them(local: Local) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        local.run(name, LINE, seed=seed, cycles=12)
    found = lessons(local.log, "a", "b")
    assert len(set(found.experience.session_N)) == 2
    assert found.streams == ("session/a", "session/b")
    assert found.environments == ("gymnasium:AetherLine-v0",)
    assert 0 < found.from_position < found.to_position <= local.log.position()
    assert found.unreadable == 0


def test_what_forks_share_is_read_once_and_all_of_it_is_one_session(local: Local) -> None:
    local.run("a", LINE, cycles=12)
    closed = local.events("a", "session.cycle_closed")
    for name, cycle in (("b", 3), ("c", 6)):
        fork(local.log, "a", at=closed[cycle].version, new=name)
        local.run(name, LINE, cycles=12)
    parent, forked = lessons(local.log, "a"), lessons(local.log, "a", "b", "c")
    later = len(local.events("b", "learn.belief_updated")) + len(local.events("c", "learn.belief_updated"))
    shared = sum(r.position < closed[3].position for r in local.events("b", "learn.belief_updated"))
    shared += sum(r.position < closed[6].position for r in local.events("c", "learn.belief_updated"))
    at_the_cut = 2  # its outcome is shared: the parent went on from it as well
    assert forked.experience.transitions == parent.experience.transitions + later - shared - at_the_cut
    assert set(forked.experience.session_N) == set(parent.experience.session_N)


def test_a_fork_alone_brings_what_it_shares_with_it(local: Local) -> None:
    local.run("a", LINE, cycles=12)
    fork(local.log, "a", at=local.events("a", "session.cycle_closed")[3].version, new="b")
    local.run("b", LINE, cycles=12)
    assert lessons(local.log, "b").experience.transitions == len(local.events("b", "learn.belief_updated"))


def test_one_scenario_and_seed_lived_twice_are_held_out_together(local: Local) -> None:
    for name, seed in (("a", 1), ("again", 1), ("other", 2)):
        local.run(name, LINE, seed=seed, cycles=6)
    together = set(lessons(local.log, "a", "again", "other").experience.session_N)
    assert len(together) == 2
    assert together == {
        *lessons(local.log, "other").experience.session_N,
        *lessons(local.log, "a").experience.session_N,
    }


def test_the_digest_is_of_what_was_lived_not_of_where_it_stands(local: Local) -> None:
    local.run("a", LINE, cycles=8)
    local.run("b", LINE, seed=3, cycles=8)
    retell(local, "a", "again")
    first, again = lessons(local.log, "a"), lessons(local.log, "again")
    assert first.digest == again.digest != lessons(local.log, "b").digest
    assert first.from_position < again.from_position


def test_an_outcome_that_never_came_makes_no_transition(local: Local) -> None:
    local.run("a", LINE, cycles=6)
    before = lessons(local.log, "a").experience.transitions
    moved, seen = (local.events("a", kind)[-1].event for kind in ("execute.intended", "sense.observed"))
    assert isinstance(moved, execute.Intended)
    local.append("a", Draft(event=moved.model_copy(update={"effect": "1" * 64}), command="later", cycle=7))
    assert isinstance(seen, sense.Observed)
    local.append("a", Draft(event=seen, command="later still", cycle=7))
    assert lessons(local.log, "a").experience.transitions == before


def test_an_event_of_a_later_version_is_left_out_with_the_transitions_around_it(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.run("a", LINE, cycles=12)
    later = [place for place, type_ in enumerate(local.types("a")) if type_ == "sense.observed"][2]
    with monkeypatch.context() as future:
        retell(local, "a", "b", before=lambda place: future.setattr(sense.Observed, "SCHEMA", 1 + (place == later)))
    whole, cut = lessons(local.log, "a"), lessons(local.log, "b")
    assert (whole.unreadable, cut.unreadable) == (0, 1)
    assert cut.experience.transitions == whole.experience.transitions - 2
    assert len(set(cut.experience.episode_N)) == len(set(whole.experience.episode_N)) + 1  # before it and after it


def test_sessions_of_different_spaces_are_refused_with_both_shown(local: Local) -> None:
    local.run("line", LINE, cycles=2)
    local.run("lava", LAVA, cycles=2)
    with pytest.raises(SpacesDiffer) as refused:
        lessons(local.log, "line", "lava")
    for name in ("line", "lava"):
        layout = source(local.log, name).layout
        assert layout is not None
        assert layout.describe() in str(refused.value)
    assert "box controls of" in str(refused.value)
    assert "discrete controls of 7" in str(refused.value)


def test_nothing_to_learn_from_is_said(local: Local) -> None:
    with pytest.raises(NothingToLearn, match="aether run"):
        read_lessons(local.log, [])
    local.run("short", LINE, cycles=1)
    with pytest.raises(NothingToLearn, match="1 sessions were read"):
        lessons(local.log, "short")


def test_discrete_moves_and_images_are_flat_and_one_hot(local: Local) -> None:
    local.run("lava", LAVA, cycles=10)
    found = lessons(local.log, "lava").experience
    assert found.layout.controls.kind == "discrete"
    assert found.layout.controls.width == 7
    assert {part.name: part.width for part in found.layout.parts} == {"direction": 4, "image": 147}
    assert (found.done_NA.sum(axis=1) == found.steps_N).all()
    assert found.layout == layout_of(Spaces.model_validate(opened(local.log, "session/lava").spaces))


def test_what_was_learnt_is_read_again_though_its_sessions_went_on(local: Local) -> None:
    with pytest.raises(Cut):
        local.run("a", LINE, cycles=12, commits=Cutter(at=30))
    first = lessons(local.log, "a")
    assert first.experience.transitions > 1
    local.run("a", LINE, cycles=12)
    assert lessons(local.log, "a").digest != first.digest
    again = read_lessons(local.log, [source(local.log, "a")], to=first.to_position)
    assert (again.digest, again.to_position) == (first.digest, first.to_position)
