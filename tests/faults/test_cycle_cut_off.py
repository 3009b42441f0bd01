"""A session that is cut off anywhere and resumed is the session that never was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from loops.errors import Diverged
from memory.project import EpisodeProjection
from runtime.errors import OwnedElsewhere
from runtime.hosting.recall import HostMemory
from telemetry.errors import FencedWriter
from telemetry.events import Draft, Recorded, execute, sense, session, split_id
from telemetry.log import EventLog
from tests.local import Cut, Cutter, Local, story
from tests.worlds import ACTS, Line

LINE = """
name = "line"
[environment]
id = "gymnasium:AetherLine-v0"
max_frames = 4
episodes = 3
options = { mark = "MARK" }
[reasoner]
hold = 3
[memory]
when = "always"
recall = 0
[[heart.rules]]
id = "not-left"
reason = "the model expects to be left of the start"
virtue = "prudence"
region = { of = "observation", index = [0], high = -3.0 }
"""
PLAIN = LINE.partition("[[heart.rules]]")[0]
CYCLES = 12


@pytest.fixture(autouse=True)
def _fresh_counts() -> Iterator[None]:
    ACTS.clear()
    yield
    ACTS.clear()


def line(mark: str) -> str:
    return LINE.replace("MARK", mark)


def plain(mark: str) -> str:
    """Without rules, so that every cycle acts: commits are the opening, then intent and close of each cycle."""
    return PLAIN.replace("MARK", mark)


def moments(told: list[tuple[str, dict[str, object]]]) -> tuple[int, int]:
    """Before and after each commit, and each call of a phase, of a session of which this is told."""
    count = Counter(kind for kind, _ in told)
    intents, cycles, felt = count["execute.intended"], count["session.cycle_closed"], count["feel.felt"]
    sensed = [kind for kind, _ in told if kind in ("execute.succeeded", "sense.observed")]
    shown = sum(pair == ("execute.succeeded", "sense.observed") for pair in pairwise(sensed))
    return 2 * (2 + cycles + intents), 2 * (3 * cycles - shown + 4 * felt + intents)


def test_a_session_cut_off_at_any_commit_or_phase_call_ends_as_the_undisturbed_one(local: Local) -> None:
    counted = Cutter(), Cutter()
    text = line("undisturbed")
    expected = local.run("whole", text, cycles=CYCLES, commits=counted[0], calls=counted[1])
    told = story(local.events("whole"))
    assert (counted[0].seen, counted[1].seen) == moments(told)
    assert {"feel.inhibited", "learn.belief_updated", "learn.remembered", "sense.surprised"} <= {t for t, _ in told}
    for kind, many in zip(("commits", "calls"), moments(told), strict=True):
        for moment in range(1, many + 1):
            name = f"{kind}-{moment}"
            cutters = {kind: Cutter(at=moment)}
            commits, calls = cutters.get("commits"), cutters.get("calls")
            with pytest.raises(Cut):
                local.run(name, text, cycles=CYCLES, commits=commits, calls=calls)
            before = local.log.head(f"session/{name}")
            row = local.run(name, text, cycles=CYCLES)
            assert row.state_hash == expected.state_hash, name
            assert story(local.events(name)) == told, name
            resumed = local.events(name, "session.resumed")
            ended = before is not None and "session.closed" in local.types(name)[: before.version]
            assert [r.epoch for r in resumed] == ([] if before is None or ended else [2]), name
            for recorded in resumed:
                event = recorded.event
                assert isinstance(event, session.Resumed)
                assert before is not None
                assert (event.after, event.verified_to) == ("interrupted", before.version), name


def test_a_session_cut_off_again_and_again_still_ends_as_the_undisturbed_one(local: Local) -> None:
    text = line("often")
    expected = local.run("whole", text, cycles=CYCLES)
    row, cuts = None, 0
    while row is None:
        try:
            row = local.run("cut", text, cycles=CYCLES, commits=Cutter(at=4))
        except Cut:
            cuts += 1
    assert cuts >= CYCLES
    assert row.state_hash == expected.state_hash
    assert story(local.events("cut")) == story(local.events("whole"))
    assert [r.epoch for r in local.events("cut", "session.resumed")] == list(range(2, cuts + 1))


def test_no_command_is_recorded_twice_however_often_it_is_cut_off(local: Local) -> None:
    with pytest.raises(Cut):
        local.run("cut", line("twice"), cycles=CYCLES, commits=Cutter(at=18))
    local.run("cut", line("twice"), cycles=CYCLES)
    places = [(r.command, r.ordinal) for r in local.events("cut")]
    assert len(places) == len(set(places))


def test_a_suspended_session_says_so_and_goes_on_as_the_undisturbed_one(local: Local) -> None:
    expected = local.run("whole", line("rests"), cycles=CYCLES)
    turns = iter([False] * 5 + [True] * 100)
    row = local.run("rests", line("rests"), cycles=CYCLES, stop=lambda: next(turns))
    assert (row.status, row.cycles) == ("suspended", 5)
    rests = local.events("rests")[-1].event
    assert isinstance(rests, session.Suspended)
    assert rests.state_hash == row.state_hash
    row = local.run("rests", line("rests"), cycles=CYCLES)
    assert row.state_hash == expected.state_hash
    resumed = local.events("rests", "session.resumed")[0].event
    assert isinstance(resumed, session.Resumed)
    assert resumed.after == "suspended"


def test_an_owner_that_was_taken_over_cannot_write_any_more(local: Local) -> None:
    """The first owner is stopped inside a commit; another one takes the session over meanwhile."""
    text = line("fenced")
    first = Cutter(at=9)

    class Slow(Cutter):
        def here(self) -> None:
            self.seen += 1
            if self.seen == first.at:
                head = local.log.head("session/fenced")
                assert head is not None
                resumed = session.Resumed(after="interrupted", owner="tests/2", verified_to=head.version)
                local.log.append(
                    head.stream,
                    [Draft(event=resumed, command="resume.2")],
                    expected_version=head.version,
                    epoch=head.epoch + 1,
                )

    with pytest.raises(OwnedElsewhere, match="taken up by the host tests/2") as fenced:
        local.run("fenced", text, cycles=CYCLES, commits=Slow())
    assert isinstance(fenced.value.__cause__, FencedWriter)
    assert local.types("fenced")[-1] == "session.resumed"


def test_a_replayable_effect_whose_outcome_was_not_recorded_is_stepped_again_under_the_same_key(
    local: Local,
) -> None:
    with pytest.raises(Cut):
        local.run("cut", plain("again"), cycles=CYCLES, calls=Cutter(at=14 + 16))
    left = local.types("cut")
    assert left[-2:] == ["execute.intended", "execute.dispatched"]
    before = ACTS["again"]
    local.run("cut", plain("again"), cycles=3)
    intents = [r.event for r in local.events("cut", "execute.intended")]
    outcomes = [r.event for r in local.events("cut", "execute.succeeded")]
    assert [i.effect for i in intents if isinstance(i, execute.Intended)] == [
        o.effect for o in outcomes if isinstance(o, execute.Succeeded)
    ]
    assert ACTS["again"] > before


def test_a_simulator_that_answers_otherwise_on_rebuild_is_not_gone_on_with(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = plain("drifts")
    with pytest.raises(Cut):
        local.run("cut", text, cycles=CYCLES, commits=Cutter(at=8))
    version = local.log.head("session/cut").version  # type: ignore[union-attr]  # it was opened
    monkeypatch.setattr(Line, "drift", 0.25)
    with pytest.raises(
        Diverged,
        match=r"after 1 actions .*The log is intact.*: observation 0\.25, achieved_goal 0\.25, desired_goal 0",
    ):
        local.run("cut", text, cycles=CYCLES)
    assert set(local.types("cut")[version:]) == {"session.resumed"}, "nothing is done in a world that diverged"
    monkeypatch.setattr(Line, "drift", 0.0)
    expected = local.run("whole", text, cycles=CYCLES)
    assert local.run("cut", text, cycles=CYCLES).state_hash == expected.state_hash


ROBOT = plain("robot").replace("AetherLine", "AetherRobot")


def test_an_unsafe_effect_without_an_outcome_is_unknown_and_is_never_acted_again(local: Local) -> None:
    for moment in (13, 14):  # before and after the first act
        ACTS.clear()
        name = f"robot-{moment}"
        with pytest.raises(Cut):
            local.run(name, ROBOT, cycles=CYCLES, calls=Cutter(at=moment))
        acted = ACTS["robot"]
        assert local.types(name)[-2:] == ["execute.intended", "execute.dispatched"]
        row = local.run(name, ROBOT, cycles=CYCLES)
        assert ACTS["robot"] == acted, "it was done again"
        unknown = local.events(name, "execute.unknown")
        assert len(unknown) == 1
        event, intended = unknown[0].event, local.events(name, "execute.intended")[0].event
        assert isinstance(event, execute.UnknownOutcome)
        assert isinstance(intended, execute.Intended)
        assert (event.effect, intended.effect_class) == (intended.effect, "unsafe")
        assert not local.events(name, "execute.succeeded", "execute.failed")
        assert row.outcome == "failed"
        assert "must not be repeated" in str(row.error)


def test_an_unsafe_world_runs_to_its_end_while_nobody_cuts_it_off(local: Local) -> None:
    assert local.run("robot", ROBOT, cycles=CYCLES).outcome == "cycles"


def test_a_session_cut_off_between_its_failure_and_its_close_does_nothing_more(local: Local) -> None:
    text = """
    name = "bad"
    environment = { id = "gymnasium:AetherBad-v0", options = { how = "raises", mark = "failing" } }
    memory = { recall = 0 }
    """
    expected = local.run("whole", text)
    commits = Cutter()
    local.run("count", text, commits=commits)
    for moment in range(1, commits.seen + 1):
        name = f"cut-{moment}"
        with pytest.raises(Cut):
            local.run(name, text, commits=Cutter(at=moment))
        row = local.run(name, text)
        assert (row.outcome, row.error, row.state_hash) == ("failed", expected.error, expected.state_hash), name
        assert story(local.events(name)) == story(local.events("whole")), name


def test_sessions_of_one_log_do_not_touch_each_other(local: Local, log: EventLog) -> None:
    local.run("one", line("one"), cycles=3)
    head = log.head("session/one")
    local.run("other", line("other"), cycles=3)
    assert log.head("session/one") == head
    assert log.verify().ok


def test_a_session_that_recalls_is_cut_off_and_recalls_the_same(local: Local, tmp_path: Path) -> None:
    text = line("recalls").replace("recall = 0", "recall = 3")
    with closing(HostMemory(EpisodeProjection(local.log, folder=tmp_path / "memory"))) as memory:
        expected = local.run("whole", text, cycles=CYCLES, memory=memory)
        hits = [recalled(r, "whole") for r in local.events("whole", "sense.recalled")]
        assert max(map(len, hits)) == 3
        for moment in (9, 16, 25, 32):
            name = f"cut-{moment}"
            with pytest.raises(Cut):
                local.run(name, text, cycles=CYCLES, memory=memory, commits=Cutter(at=moment))
            assert local.run(name, text, cycles=CYCLES, memory=memory).state_hash == expected.state_hash
            again = [recalled(r, name) for r in local.events(name, "sense.recalled")]
            assert [len(h) for h in again] == [len(h) for h in hits]
            cycles = {r.version: r.cycle for r in local.events(name)}
            whole = {r.version: r.cycle for r in local.events("whole")}
            for one, other in zip(hits, again, strict=True):
                assert [(whole[v], s) for v, s in one] == [(cycles[v], s) for v, s in other], name


def recalled(recorded: Recorded, name: str) -> list[tuple[int, float]]:
    """Version and score of each episode recalled, all of them the session's own."""
    event = recorded.event
    assert isinstance(event, sense.Recalled)
    places = [split_id(hit.event) for hit in event.hits]
    assert {stream for stream, _ in places} <= {f"session/{name}"}
    assert all(version < recorded.version for _, version in places)
    return [(version, hit.score) for (_, version), hit in zip(places, event.hits, strict=True)]
