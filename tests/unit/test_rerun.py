"""Reruns: another policy in the recorded situations, with nothing called that acts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from aetherloop import rerun as public
from runtime.errors import NotFound, UsageError
from runtime.fork import fork
from runtime.rerun.many import chosen, rerun
from runtime.rerun.policy import read_policy
from runtime.rerun.values import Difference, RerunReport, SessionRerun
from runtime.sessions import OBSERVED
from telemetry.events import Draft, sense, session
from telemetry.events.values import Action, Array, Move
from telemetry.log import EventLog
from tests.golden.test_golden import read
from tests.local import Cut, Cutter, Local
from tests.reruns import count, decisions, line, one, wall, whole
from tests.worlds import ACTS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "organ.toml"


# --- the same policy again --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["maze", "lava", "refund"])
def test_a_golden_session_is_covered_whole_by_its_own_policy(log: EventLog, name: str) -> None:
    events = list(read(f"{name}.jsonl"))
    drafts = [
        Draft(event=r.event, command=r.command, ordinal=r.ordinal, cycle=r.cycle)  # type: ignore[arg-type]  # all are known
        for r in events
    ]
    log.append(events[0].stream, drafts, expected_version=0, epoch=1)
    row = one(log, events[0].stream)
    assert (row.share, row.share_before_first, row.first) == (1.0, 1.0, None)
    assert row.cycles >= 5


@pytest.mark.parametrize("heart", ["", wall(), wall("ask", on_ask="refuse", when="now")])
def test_a_session_is_covered_whole_by_its_own_policy_and_nothing_acts(local: Local, heart: str) -> None:
    local.run("s", line(heart=heart), cycles=80)
    ACTS.clear()
    row = one(local.log)
    assert whole(row)
    assert row.surprise is not None
    assert row.surprise.recorded_nats == row.surprise.policy_nats
    assert not ACTS


def test_a_session_that_was_suspended_cut_off_and_taken_up_is_covered_whole(local: Local) -> None:
    text = line(heart=wall())
    local.run("s", text, cycles=30, stop=iter([False] * 7 + [True]).__next__)
    for at in (3, 9, 14, 5):
        with pytest.raises(Cut):
            local.run("s", text, cycles=30, calls=Cutter(at=at))
    local.run("s", text, cycles=30)
    assert local.types("s").count("session.resumed") >= 2
    assert whole(one(local.log))


def test_what_a_session_does_while_others_are_rerun_is_not_counted(local: Local) -> None:
    local.run("first", line(), cycles=5)
    local.run("s", line(), cycles=30, stop=iter([False] * 7 + [True]).__next__)
    before = one(local.log)

    def go_on(row: SessionRerun) -> None:
        if row.session == "first":
            local.run("s", line(), cycles=30)

    report = rerun(local.log, ["first", "s"], read_policy({}), watch=go_on)
    assert report.sessions[1] == before
    assert one(local.log).cycles > before.cycles


def test_a_fork_is_covered_whole_and_what_it_shares_is_counted_once(local: Local) -> None:
    text = line()
    local.run("p", text, cycles=20)
    at = local.events("p", "session.cycle_closed")[11].version
    fork(local.log, "p", at=at, new="f")
    local.run("f", text, cycles=20)
    deeper = local.events("f", "session.cycle_closed")[14].version
    fork(local.log, "f", at=deeper, new="g")
    local.run("g", text, cycles=20)
    for sessions in (["p", "f", "g"], ["g", "f", "p"], ["f", "g"], ["g"]):
        report = rerun(local.log, sessions, read_policy({}))
        assert all(whole(row) for row in report.sessions)
        decisions = {r.id for name in sessions for r in local.events(name, "reason.decided")}
        assert report.total.cycles == report.total.same == len(decisions)
        seen = {r.id for name in sessions for r in local.events(name, "sense.surprised")}
        assert report.surprise is not None
        assert report.surprise.transitions == len(seen)


def test_a_cycle_in_which_nothing_was_decided_yet_is_not_counted(local: Local) -> None:
    with pytest.raises(Cut):
        local.run("s", line(), cycles=30, commits=Cutter(at=20))
    decided = len(local.events("s", "reason.decided"))
    assert one(local.log).cycles == decided == 5


# --- another policy: what comes out is what it would have lived --------------------------------------


@dataclass(frozen=True)
class Case:
    """A scenario, one of its organs replaced, and the same in the words of a whole scenario."""

    before: str
    organ: str
    given: str
    after: str


CASES = {
    "another reasoner": Case(line(), "reasoner", "explore", line("explore")),
    "a planner for an explorer": Case(line("explore"), "reasoner", "greedy", line()),
    "a reasoner that keeps its actions longer": Case(
        line("explore"), "reasoner", '[reasoner]\nkind = "explore"\nhold = 5\nexplore = 0.3', line("explore", hold=5)
    ),
    "a heart where there was none": Case(line(), "heart", f"[heart]\n{wall()}", line(heart=wall())),
    "no heart": Case(line(heart=wall()), "heart", "none", line()),
    "a wall elsewhere": Case(line(heart=wall()), "heart", line(heart=wall(at=0.3)), line(heart=wall(at=0.3))),
    "no world model": Case(line("explore"), "world_model", "none", line("explore", world_model="none")),
    "a world model where there was none": Case(
        line("explore", world_model="none"), "world_model", "linear", line("explore")
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_up_to_the_first_difference_a_rerun_is_what_the_policy_lives_when_it_is_run(
    local: Local, file: Path, name: str
) -> None:
    case = CASES[name]
    local.run("s", case.before, cycles=60)
    local.run("really", case.after, cycles=60)
    given = case.given
    if "\n" in given:
        file.write_text(given)
        given = str(file)
    (row,) = rerun(local.log, ["s"], read_policy({case.organ: given})).sessions
    recorded, lived = decisions(local, "s"), decisions(local, "really")
    alike = next((i for i, (a, b) in enumerate(zip(recorded, lived, strict=False)) if a != b), None)
    if alike is None:
        assert (row.share, row.cycles, row.first) == (1.0, len(recorded), None)
        assert recorded == lived
        return
    assert row.covered_before_first == alike
    assert row.first is not None
    differing = local.events("s", "reason.decided")[alike]
    assert (row.first.event, row.first.cycle) == (differing.id, differing.cycle)
    assert _told(lived[alike]) in row.first.why, "the policy chooses what it really chose there"


def _told(action: Action) -> str:
    if isinstance(action, Move) and isinstance(action.to, Array):
        return f"move [{action.to.numpy()[0]:.7g}"
    return "instead: wait"


def test_a_replaced_world_model_is_measured_over_the_recorded_transitions(local: Local) -> None:
    local.run("without", line("explore", world_model="none"), cycles=40)
    local.run("with", line("explore"), cycles=40)
    surprised = [r.event for r in local.events("with", "sense.surprised")]
    nats = [event.nats for event in surprised if isinstance(event, sense.Surprised)]
    found = one(local.log, "without", world_model="linear").surprise
    assert found is not None
    assert (found.transitions, found.recorded_nats) == (len(nats), None)
    assert found.policy_nats == pytest.approx(sum(nats) / len(nats), abs=1e-12)
    gone = one(local.log, "with", world_model="none").surprise
    assert gone is not None
    assert (gone.recorded_nats, gone.policy_nats) == (found.policy_nats, None)


# --- what it is asked for ---------------------------------------------------------------------------


def test_a_rerun_is_of_the_first_cycles_that_are_asked_for(local: Local) -> None:
    local.run("s", count(), cycles=20)
    assert one(local.log, cycles=7).cycles == 7
    assert one(local.log, cycles=100).cycles == 20


def test_no_more_differences_are_kept_than_asked_for_and_the_rest_is_counted(local: Local, file: Path) -> None:
    local.run("s", count(), cycles=9)
    file.write_text(count(("all", "refuse", "0, 1")))
    (row,) = rerun(local.log, ["s"], read_policy({"heart": str(file)}), keep=2).sessions
    assert ([d.cycle for d in row.differences], row.differences_left_out) == ([1, 2], 7)


def test_sessions_are_chosen_by_their_scenario(local: Local) -> None:
    local.run("a", count(), cycles=1)
    local.run("b", line("explore"), cycles=1)
    assert chosen(local.log) == ["a", "b"]
    assert chosen(local.log, scenario="line") == ["b"]
    with pytest.raises(NotFound, match="did you mean 'line'"):
        chosen(local.log, scenario="lime")


def test_a_session_that_a_gateway_watched_is_left_out_and_named(local: Local) -> None:
    local.run("s", count(), cycles=2)
    (first,) = local.log.read("session/s", to=1)
    assert isinstance(first.event, session.Opened)
    watched = first.event.model_copy(update={"environment": OBSERVED, "scenario": "gateway"})
    local.log.append("session/w", [Draft(event=watched, command="open")], expected_version=0, epoch=1)
    report = rerun(local.log, ["s", "w"], read_policy({}))
    assert ([row.session for row in report.sessions], report.left_out) == (["s"], ("w",))


def test_a_policy_that_is_not_for_the_session_is_refused_before_anything_is_said_of_it(
    local: Local, file: Path
) -> None:
    local.run("s", count(), cycles=2)
    for given, said in (("greedy", "needs a declared goal"), ("explore", "")):
        if said:
            with pytest.raises(UsageError, match=f"not for session s of the scenario 'count'.*{said}"):
                one(local.log, reasoner=given)
        else:
            assert one(local.log, reasoner=given).share == 1.0
    file.write_text(f"[heart]\n{wall()}")
    with pytest.raises(UsageError, match="rule 'wall': nothing named 'observation'"):
        one(local.log, heart=str(file))


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"hart": "none"}, "did you mean 'heart'"),
        ({"reasoner": "gready"}, "no such file, and in one word it can be: explore, greedy"),
        ({"heart": "nowhere.toml"}, "no such file"),
    ],
)
def test_what_cannot_be_meant_is_refused(replaced: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_policy(replaced)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[heart", "is not TOML"),
        ('[heart]\non_axe = "wait"', r"organ.toml:2: unknown key 'heart.on_axe'; did you mean 'on_ask'"),
        ('on_axe = "wait"', r"organ.toml:1: unknown key 'on_axe'; did you mean 'on_ask'"),
        ('name = "x"\n[environment]\nit = "null:"', "organ.toml:3: unknown key"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_with_its_line(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_policy({"heart": str(file)})


def test_from_where_content_is_gone_on_nothing_is_comparable(local: Local, tmp_path: Path) -> None:
    wordy = 'name = "w"\nenvironment = { id = "gymnasium:AetherWordy-v0" }\nmemory = { recall = 0 }'
    local.run("s", wordy, cycles=6)
    assert whole(one(local.log))
    blob = json.loads(local.events("s", "sense.observed")[3].payload)
    (gone,) = (path for path in tmp_path.rglob("*") if path.is_file() and path.stem in json.dumps(blob))
    gone.unlink()
    row = one(local.log)
    assert (row.counts.same, row.counts.not_comparable) == (3, 3)
    assert row.first is not None
    assert "is missing or altered" in row.first.why


def test_a_session_that_is_not_there_is_named(local: Local) -> None:
    with pytest.raises(NotFound, match="there is no session 'line'"):
        one(local.log, "line")


def test_the_public_function_takes_a_log_by_name_and_all_of_its_sessions(local: Local) -> None:
    local.run("a", count(), cycles=2)
    local.run("b", count(("all", "refuse", "0, 1")), cycles=2)
    report = public(log=local.log.url, heart="none")
    assert isinstance(report, RerunReport)
    assert [(row.session, row.covered) for row in report.sessions] == [("a", 2), ("b", 0)]
    assert report.policy == {"heart": "none"}
    assert isinstance(report.sessions[1].first, Difference)
    assert public("a", log=local.log).total.cycles == 2
