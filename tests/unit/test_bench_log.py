"""What the log's benchmark calls a step, and how it counts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import forking, rebuild
from benchmarks.effects import EFFECTS, Outcome, items, marked, sessions
from benchmarks.effects_ours import answer, fates_of, please_put
from benchmarks.steps import CYCLE, PAYLOAD_BYTES
from benchmarks.steps_ours import step, taken
from benchmarks.target import ANSWER_S, VARIABLE, made, put_keyed, put_probeable, put_unsafe
from loops.environments.tools import ToolFailed
from loops.environments.tools.declare import collect
from loops.environments.tools.tool import Caller
from loops.environments.tools.vault import Vault
from telemetry.events import Draft, Event, execute
from telemetry.events.values import ToolCall, ToolCalls, canonical
from telemetry.log import open_log


@pytest.mark.parametrize("number", [0, 7, 100_000])
def test_the_stored_payload_of_a_step_is_as_long_as_its_definition_says(number: int) -> None:
    assert len(canonical(step(number))) == PAYLOAD_BYTES


@pytest.mark.parametrize(("way", "commits"), [("cycle", 2), ("commit", 12)])
def test_a_session_of_steps_is_cycles_with_their_frame_and_commits_as_its_way_says(
    tmp_path: Path, way: str, commits: int
) -> None:
    with closing(open_log(str(tmp_path / "log.db"))) as log:
        asyncio.run(taken(log, "session/a", 2 * CYCLE, "commit" if way == "commit" else "cycle"))
        written = list(log.read("session/a"))
        assert Counter(event.type for event in written) == {
            "session.cycle_opened": 2,
            "sense.observed": 2 * CYCLE,
            "session.cycle_closed": 2,
        }
        assert {len(event.payload) for event in written if event.type == "sense.observed"} == {PAYLOAD_BYTES}
        assert len({event.at for event in written}) == commits
        assert not log.verify().problems


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "target.db"
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.setattr("benchmarks.target.ANSWER_S", ANSWER_S / 100)
    return path


def test_the_target_counts_each_put_and_knows_a_repeated_key(target: Path) -> None:
    for key in ("a", "a", "b"):
        put_keyed("one", key)
    put_unsafe("two")
    put_unsafe("two")
    put_probeable("three")
    assert made(target) == {"one": 2, "two": 2, "three": 1}


def test_the_probe_of_a_probeable_item_looks_into_the_target(target: Path) -> None:
    (tool,) = (one for one in collect(["benchmarks.target"], vault=Vault()) if one.spec.name == "put_probeable")
    assert tool.probe is not None
    caller = Caller(session="session/a", person=None, effect="0" * 64)
    with pytest.raises(ToolFailed, match="not there"):
        tool.probe({"item": "one"}, caller)
    put_probeable("one")
    assert tool.probe({"item": "one"}, caller) == "one is there"


def test_repeats_and_losses_are_counted_by_item() -> None:
    outcome = Outcome({"a": 1, "b": 3, "c": 0}, killed=("b",))
    assert (outcome.twice, outcome.missing) == ([0, 2, 0], [0, 0, 1])


def test_kills_are_spread_over_all_items_and_kinds_and_none_is_the_first() -> None:
    planned = sessions(("keyed", "probeable"), effects=200)
    assert Counter(kind for _, kind in planned) == {"keyed": 10, "probeable": 10}
    names = [name for session, _ in planned for name in items(session)]
    assert len(set(names)) == 200
    killed = marked(names, kills=25)
    assert len(set(killed)) == 25
    assert names[0] not in killed
    assert {name.partition("-")[0] for name in killed} == {"keyed", "probeable"}


@pytest.mark.parametrize("said", ["fine", "nobody knows whether that happened"])
def test_the_model_puts_every_item_once_whatever_came_of_the_one_before(said: str) -> None:
    messages = [{"role": "user", "content": please_put("unsafe-03", "unsafe")}]
    put = []
    for _ in range(EFFECTS):
        ((name, arguments),) = answer(messages).calls
        assert name == "put_unsafe"
        put.append(json.loads(arguments)["item"])
        messages.append({"role": "tool", "content": said})
    assert put == items("unsafe-03")
    assert not answer(messages).calls


def test_forks_are_cut_at_the_end_of_sessions_of_both_lengths_and_each_adds_one_event(tmp_path: Path) -> None:
    with forking.serving(tmp_path) as measure:
        for events, depth in ((10, 0), (300, 2)):
            forked = measure(events, 8, depth)
            assert len(forked.ms) == 8
            assert forked.bytes < 1024
            with closing(open_log(tmp_path / f"forks-{events}-{depth}.db", mode="read")) as log:
                heads = [head for head in log.heads() if head.stream != forking.PARENT]
                last = log.head(forking.PARENT)
                assert last is not None
                assert events <= last.version < events + CYCLE + 2
                assert {head.version for head in heads} == {last.version + 1}
                assert len(heads) == depth + forking.WARM + 8


@pytest.mark.parametrize(
    ("outcome_epoch", "outcome", "fate"),
    [
        (1, execute.Succeeded(effect="e" * 64), "seen"),
        (2, execute.Succeeded(effect="e" * 64), "cut off, known"),
        (2, execute.UnknownOutcome(effect="e" * 64, why="its owner stopped"), "cut off, unknown"),
    ],
)
def test_an_effect_was_cut_off_when_another_owner_recorded_its_outcome(
    tmp_path: Path, outcome_epoch: int, outcome: Event, fate: str
) -> None:
    call = ToolCalls(calls=(ToolCall(id="1", tool="put_unsafe", arguments={"item": "one"}),))
    intended = execute.Intended(effect="e" * 64, action=call, arguments="a" * 64, effect_class="unsafe")
    sent = execute.Dispatched(effect="e" * 64, executor="x", deadline=1)
    with closing(open_log(str(tmp_path / "log.db"))) as log:
        drafts = [Draft(event=event, command=event.type) for event in (intended, sent)]
        log.append("session/a", drafts, expected_version=0, epoch=1)
        log.append("session/a", [Draft(event=outcome, command="o")], expected_version=2, epoch=outcome_epoch)
        assert fates_of(log.read("session/a")) == {"one": fate}


@pytest.mark.parametrize("what", ["rebuild", "replay"])
def test_a_rebuilt_session_has_as_many_events_as_its_peer_and_each_turn_measures_both(
    tmp_path: Path, what: rebuild.What
) -> None:
    with rebuild.serving(tmp_path) as measure:
        spent = measure(what, 50, 2)
    assert {name: len(samples) for name, samples in spent.items()} == (
        {"rebuild": 2} if what == "rebuild" else {"replay": 2, "replay_unchecked": 2, "eventsourcing": 2}
    )
    with closing(open_log(tmp_path / f"{what}-50.db", mode="read")) as log:
        head = log.head(rebuild.STREAM)
        assert head is not None
        assert 50 <= head.version < 50 + CYCLE + 2
        assert log.verify().ok


def test_a_session_measured_with_a_snapshot_has_a_long_tail_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loops.snapshot.MIN_BYTES", 100_000)
    monkeypatch.setattr("benchmarks.rebuild.MIN_BYTES", 100_000)
    with rebuild.serving(tmp_path) as measure:
        (tail,) = measure("snapshot", 300, 1)["tail_events"]
    assert 200 < tail < 260
