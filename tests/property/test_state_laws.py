"""The fold over real sessions' logs: it may be cut anywhere, and unknown events change nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loops.rebuild import rebuild
from loops.scene import Scene
from loops.state import SessionState, apply, state_hash
from telemetry.events import Recorded, Unknown
from telemetry.events.values import canonical
from telemetry.log import open_log
from tests.local import Local, facts_of

SCENARIOS = {
    "goal": """
name = "goal"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 5, episodes = 3 }
reasoner = { kind = "greedy", hold = 2, explore = 0.3 }
memory = { recall = 0, when = "always" }
""",
    "asks": """
name = "asks"
environment = { id = "null:", max_frames = 4, episodes = 2 }
memory = { recall = 0 }
[heart]
on_ask = "safest"
[[heart.rules]]
id = "ask"
verdict = "ask"
reason = "r"
virtue = "care"
actions = [1]
""",
    "fails": """
name = "fails"
environment = { id = "gymnasium:AetherBad-v0", options = { how = "raises" } }
memory = { recall = 0 }
""",
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Recorded]]]:
    """The events of a session of each scenario, the last of which was cut off and resumed."""
    with closing(open_log(tmp_path_factory.mktemp("laws") / "log.db")) as log, closing(Local(log)) as local:
        for name, text in SCENARIOS.items():
            turns = iter([False] * 2 + [True] * 9)
            local.run(name, text, cycles=20, stop=lambda turns=turns: next(turns))  # type: ignore[misc]  # bound now
            local.run(name, text, cycles=20)
        yield {name: local.events(name) for name in SCENARIOS}


def step(state: SessionState, recorded: Recorded) -> SessionState:
    return apply(state, recorded.event)


def see(scene: Scene, recorded: Recorded) -> Scene:
    return scene.see(recorded.id, recorded.event)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(SCENARIOS)), data=st.data())
def test_folding_a_log_in_two_parts_is_folding_it_whole(
    logs: dict[str, list[Recorded]], name: str, data: st.DataObject
) -> None:
    events = logs[name]
    at = data.draw(st.integers(0, len(events)))
    whole = reduce(step, events, SessionState())
    assert reduce(step, events[at:], reduce(step, events[:at], SessionState())) == whole
    scene = reduce(see, events, Scene())
    assert reduce(see, events[at:], reduce(see, events[:at], Scene())) == scene


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(SCENARIOS)), data=st.data())
def test_events_of_another_version_between_known_ones_change_nothing(
    logs: dict[str, list[Recorded]], name: str, data: st.DataObject
) -> None:
    state = SessionState()
    unknown = Unknown(type="reason.dreamt", schema_number=3, payload=b"\x00")
    for recorded in logs[name]:
        if data.draw(st.booleans()):
            state = apply(state, unknown)
        state = apply(state, recorded.event)
    assert state == reduce(step, logs[name], SessionState())


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_state_that_is_written_and_read_again_has_the_same_hash(logs: dict[str, list[Recorded]], name: str) -> None:
    state = SessionState()
    for recorded in logs[name]:
        state = apply(state, recorded.event)
        assert state_hash(SessionState.model_validate_json(state.model_dump_json())) == state_hash(state)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_hash_of_a_state_is_that_of_its_canonical_json(logs: dict[str, list[Recorded]], name: str) -> None:
    state = SessionState()
    for recorded in logs[name]:
        state = apply(state, recorded.event)
        assert state_hash(state) == hashlib.sha256(canonical(state)).hexdigest(), recorded.id


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(SCENARIOS)), data=st.data())
def test_rebuilding_in_two_parts_is_rebuilding_whole_and_is_the_fold(
    logs: dict[str, list[Recorded]], name: str, data: st.DataObject
) -> None:
    events = logs[name]
    at = data.draw(st.integers(0, len(events)))
    first = rebuild(facts_of(events[:at]))
    whole = rebuild(facts_of(events[at:]), first)
    assert whole == rebuild(facts_of(events))
    assert first == rebuild(facts_of(events[:at])), "a standing is not changed by what goes on from it"
    assert whole.state == reduce(step, events, SessionState())
    assert whole.scene == reduce(see, events, Scene())
    assert whole.positions == {recorded.type: recorded.position for recorded in events}
    assert (whole.version, whole.epoch, whole.last_type) == (len(events), 2, "session.closed")
