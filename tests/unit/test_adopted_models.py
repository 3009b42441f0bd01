"""What sessions act by: what was ordered, what stands, and what they take up between two cycles."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loops.errors import ScenarioInvalid
from loops.reasoners.active_inference import ActiveInference
from loops.scene import PINNED
from loops.snapshot import read as read_snapshot
from loops.snapshot import stand
from loops.snapshot import write as write_snapshot
from runtime.compose import compose
from runtime.entry import entered
from runtime.errors import NotFound, Unavailable, UsageError
from runtime.fork import fork
from runtime.models.registry.store import Registry
from runtime.models.standing import Standing, base_id, drawn, followed, standing
from runtime.models.using import Reader, pinned_by
from runtime.scenario import parse_scenario
from runtime.sessions import opened
from telemetry.events import Recorded, learn, reason, sense
from telemetry.events.values import ModelId
from telemetry.log import EventLog
from tests.aether import ROOT
from tests.local import Cut, Cutter, Local, story
from tests.planned import PLANNING, moments, plans
from tests.reruns import one, whole
from tests.trained import trained

LINE = f"""
name = "line"
environment = {{ id = "gymnasium:AetherLine-v0", max_frames = 5, episodes = 99 }}
memory = {{ recall = 0 }}
[reasoner]
kind = "greedy"
{PLANNING}
"""
LEARNING = f"""{LINE}
[learning]
model = "tiny"
"""
BASE = base_id(parse_scenario(LEARNING, source="scenario"))


class Shelf:
    """Models as they lie in a registry's folder."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry(folder=folder)

    def folder(self, model: ModelId) -> Path:
        name, _, digest = model.partition("@")
        return self.registry.folder / name / digest

    def put(self, made: Path, model: ModelId) -> None:
        shutil.copytree(made, self.folder(model))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, ModelId]]:
    """Models of one observation, of the last three, and of another world."""
    home = tmp_path_factory.mktemp("made")
    return {
        "one": (home / "one", trained(home / "one")),
        "three": (home / "three", trained(home / "three", history=3)),
        "elsewhere": (home / "elsewhere", trained(home / "elsewhere", "null:")),
    }


@pytest.fixture
def shelf(local: Local, made: dict[str, tuple[Path, ModelId]], tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path / "models")
    local.registry = shelf.registry
    for folder, model in made.values():
        shelf.put(folder, model)
    return shelf


@pytest.fixture
def one_(made: dict[str, tuple[Path, ModelId]]) -> ModelId:
    return made["one"][1]


@pytest.fixture
def three(made: dict[str, tuple[Path, ModelId]]) -> ModelId:
    return made["three"][1]


def promote(local: Local, model: ModelId, *, run: str = "p", share: float = 1.0) -> str:
    event = entered(local.log, learn.ModelPromoted(model=model, figures={}, share=share), refs=(), run=run)
    local.standings.look()
    return event


def roll_back(local: Local, model: ModelId, to: ModelId, *, run: str = "r") -> str:
    event = entered(local.log, learn.ModelRolledBack(model=model, to=to, why="worse"), refs=(), run=run)
    local.standings.look()
    return event


class Between:
    """For `stop`: does what is given once the session has closed so many cycles, and at each boundary after that."""

    def __init__(self, local: Local, name: str) -> None:
        self._local = local
        self._name = name
        self._do: list[tuple[int, Callable[[], object]]] = []

    def at(self, cycles: int, what: Callable[[], object]) -> Between:
        self._do.append((cycles, what))
        return self

    def __call__(self) -> bool:
        closed = self._local.types(self._name).count("session.cycle_closed")
        for cycles, what in self._do:
            if cycles <= closed:
                what()
        return False


def adoptions(local: Local, name: str) -> list[Recorded]:
    return local.events(name, "learn.model_adopted")


def predicted_by(local: Local, name: str) -> list[ModelId]:
    """The model that predicted, cycle after cycle."""
    return [r.event.model for r in local.events(name, "reason.predicted") if isinstance(r.event, reason.Predicted)]


# --- what a session begins by ---------------------------------------------------------------------------


def test_without_a_word_on_the_log_a_scenario_that_learns_goes_by_its_own_policy(local: Local, shelf: Shelf) -> None:
    local.run("s", LEARNING, cycles=4)
    local.run("t", LINE, cycles=4)
    assert PINNED not in opened(local.log, "session/s").versions
    assert set(predicted_by(local, "s")) == {"linear-rls@1"}
    assert plans(local, "s") == []
    assert predicted_by(local, "s") == predicted_by(local, "t")


def test_a_session_begins_by_what_was_promoted_last_and_plans_by_it(
    local: Local, shelf: Shelf, one_: ModelId, three: ModelId
) -> None:
    promote(local, three, run="a")
    promote(local, one_, run="b")
    local.run("s", LEARNING, cycles=4)
    assert opened(local.log, "session/s").versions[PINNED] == one_ == pinned_by(local.log, "session/s")
    assert {planned.model for planned in plans(local, "s")} == {one_} == set(predicted_by(local, "s"))
    assert adoptions(local, "s") == []


def test_an_order_says_what_an_evaluation_acts_by_from_its_beginning_to_its_end(
    local: Local, shelf: Shelf, one_: ModelId, three: ModelId
) -> None:
    promote(local, one_)
    local.run("base", LEARNING, cycles=4, model=BASE, purpose="evaluation")
    local.run("three", LEARNING, cycles=4, model=three, purpose="evaluation")
    assert set(predicted_by(local, "base")) == {"linear-rls@1"}
    assert set(predicted_by(local, "three")) == {three}
    for name in ("base", "three"):
        assert opened(local.log, f"session/{name}").purpose == "evaluation"
        assert adoptions(local, name) == []


def test_an_evaluation_is_one_episode(local: Local, shelf: Shelf) -> None:
    row = local.run("s", LEARNING, purpose="evaluation")
    assert (row.status, row.outcome) == ("closed", "done")
    ends = [r.event.ends_episode for r in local.events("s", "learn.rewarded") if isinstance(r.event, learn.Rewarded)]
    assert ends == [*[False] * (len(ends) - 1), True]


def test_an_evaluation_that_is_taken_up_again_still_follows_nothing(
    local: Local, shelf: Shelf, one_: ModelId, three: ModelId
) -> None:
    whole_one = local.run("whole", LEARNING, cycles=6, model=three, purpose="evaluation")
    local.run("s", LEARNING, cycles=6, model=three, purpose="evaluation", stop=iter([False, True]).__next__)
    promote(local, one_)
    assert local.run("s", LEARNING, cycles=6).state_hash == whole_one.state_hash
    assert set(predicted_by(local, "s")) == {three}


def test_an_order_without_a_purpose_chooses_the_beginning_only(local: Local, shelf: Shelf, one_: ModelId) -> None:
    local.run("s", LEARNING, cycles=3, model=one_)
    assert set(predicted_by(local, "s")) == {one_}, "nothing was said on the log"
    promote(local, one_)
    local.run("t", LEARNING, cycles=3, model=BASE)
    assert predicted_by(local, "t")[0] == "linear-rls@1"
    assert set(predicted_by(local, "t")[1:]) == {one_}


def test_a_model_that_is_not_there_opens_no_session_and_is_named(local: Local, shelf: Shelf, one_: ModelId) -> None:
    promote(local, one_)
    shutil.rmtree(shelf.folder(one_))
    with pytest.raises(NotFound, match=one_):
        local.run("s", LEARNING, cycles=3)
    with pytest.raises(NotFound, match="tiny@0123"):
        local.run("s", LEARNING, cycles=3, model="tiny@0123456789ab")
    assert local.types("s") == []


def test_a_model_of_another_world_opens_no_session(
    local: Local, shelf: Shelf, made: dict[str, tuple[Path, ModelId]]
) -> None:
    with pytest.raises(ScenarioInvalid, match="Name a model that was trained in this world"):
        local.run("s", LEARNING, cycles=3, model=made["elsewhere"][1])
    assert local.types("s") == []


def test_a_process_in_which_no_session_acts_by_a_trained_model_loads_no_torch(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from telemetry.log import open_log
from tests.local import Local
local = Local(open_log({str(tmp_path / "log.db")!r}))
local.run("s", {LEARNING!r}, cycles=3)
local.log.close()
sys.exit("torch" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


# --- what stands ----------------------------------------------------------------------------------------


def test_what_stands_is_what_was_said_last(log: EventLog) -> None:
    local = Local(log)
    assert standing(log, "tiny") == Standing()
    assert not standing(log, "tiny").said
    first = promote(local, "tiny@aaa", run="a")
    stands = standing(log, "tiny")
    assert (stands.model, stands.by, stands.why, stands.canary) == ("tiny@aaa", first, "promoted", None)
    second = promote(local, "tiny@bbb", run="b")
    assert standing(log, "tiny").by == second
    back = roll_back(local, "tiny@bbb", "tiny@aaa", run="c")
    assert (standing(log, "tiny").model, standing(log, "tiny").by) == ("tiny@aaa", back)
    roll_back(local, "tiny@aaa", BASE, run="d")
    assert standing(log, "tiny").model is None
    assert standing(log, "tiny").said


def test_a_canary_goes_to_its_share_of_the_sessions_and_always_to_the_same(log: EventLog) -> None:
    local = Local(log)
    promote(local, "tiny@aaa", run="a")
    sent = promote(local, "tiny@bbb", run="b", share=0.1)
    stands = standing(log, "tiny")
    streams = [f"session/{n:012x}" for n in range(4000)]
    chosen = {stream for stream in streams if stands.of(stream) == "tiny@bbb"}
    assert {stream for stream in streams if stands.of(stream) == "tiny@aaa"} == {*streams} - chosen
    assert len(chosen) == pytest.approx(400, abs=80), "four standard deviations"
    assert chosen == {stream for stream in streams if drawn(stream, "tiny@bbb") < 0.1}
    assert {stands.choice(stream).by for stream in chosen} == {sent}
    roll_back(local, "tiny@bbb", "tiny@aaa", run="c")
    assert {standing(log, "tiny").of(stream) for stream in streams} == {"tiny@aaa"}
    promote(local, "tiny@bbb", run="d", share=0.1)
    promote(local, "tiny@bbb", run="e")
    assert {standing(log, "tiny").of(stream) for stream in streams} == {"tiny@bbb"}


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("", None),
        ('[world_model]\nkind = "trained"\nmodel = "maze"', "maze"),
        ('[world_model]\nkind = "trained"\nmodel = "maze@0123"', None),
        ('[world_model]\nkind = "trained"\nmodel = "models/maze"', None),
        ("[learning]", "line"),
        ('[learning]\nmodel = "tiny"', "tiny"),
        ('[learning]\nmodel = "tiny"\n[world_model]\nkind = "trained"\nmodel = "maze@0123"', None),
    ],
)
def test_a_scenario_says_which_name_its_sessions_follow(more: str, name: str | None) -> None:
    assert followed(parse_scenario(f"{LINE}\n{more}\n", source="scenario").scenario) == name


# --- what a session takes up ----------------------------------------------------------------------------


def test_a_session_takes_up_what_is_promoted_at_its_next_boundary(local: Local, shelf: Shelf, one_: ModelId) -> None:
    between = Between(local, "s").at(3, lambda: promote(local, one_))
    local.run("s", LEARNING, cycles=6, stop=between)
    (adopted,) = adoptions(local, "s")
    assert adopted.event == learn.ModelAdopted(model=one_, before=None, why="promoted")
    assert (adopted.cycle, json.loads(adopted.refs)) == (3, [f"model:{one_}", "model/tiny@1"])
    types = local.types("s")
    assert types[types.index("learn.model_adopted") - 1] == "session.cycle_closed"
    assert types[types.index("learn.model_adopted") + 1] == "session.cycle_opened"
    by = {
        r.cycle: r.event.model for r in local.events("s", "reason.predicted") if isinstance(r.event, reason.Predicted)
    }
    assert {cycle: model for cycle, model in by.items() if cycle <= 3} == dict.fromkeys((1, 2, 3), "linear-rls@1")
    assert {model for cycle, model in by.items() if cycle > 3} == {one_}
    judged = {
        r.cycle: r.event.model for r in local.events("s", "sense.surprised") if isinstance(r.event, sense.Surprised)
    }
    assert judged[4] == "linear-rls@1", "a prediction is judged as it was recorded"
    assert judged[5] == one_
    assert pinned_by(local.log, "session/s") == one_


def test_a_session_that_takes_models_up_and_is_rolled_back_ends_the_same_wherever_it_was_cut_off(
    local: Local, shelf: Shelf, three: ModelId
) -> None:
    def run(name: str, commits: Cutter | None = None, calls: Cutter | None = None) -> str | None:
        between = Between(local, name)
        between.at(2, lambda: promote(local, three, run=f"{name}.1"))
        between.at(4, lambda: roll_back(local, three, BASE, run=f"{name}.2"))
        between.at(6, lambda: promote(local, three, run=f"{name}.3"))
        row = local.run(name, LEARNING, cycles=7, stop=between, commits=commits, calls=calls)
        roll_back(local, three, BASE, run=f"{name}.4")
        return row.state_hash

    commits, calls = Cutter(), Cutter()
    expected = run("whole", commits, calls)
    told = story(local.events("whole"))
    assert [type_ for type_, _ in told].count("learn.model_adopted") == 3
    assert len(set(predicted_by(local, "whole"))) == 2
    for kind, many, apart in (("commits", commits.seen, 1), ("calls", calls.seen, 7)):
        for moment in range(2, many + 1, apart):
            name = f"{kind}-{moment}"
            cutter = Cutter(at=moment)
            with pytest.raises(Cut):
                run(name, **{kind: cutter})
            assert run(name) == expected, name
            assert story(local.events(name)) == told, name


def test_a_session_is_covered_whole_by_the_models_it_acted_by(
    local: Local, shelf: Shelf, one_: ModelId, three: ModelId
) -> None:
    between = Between(local, "s")
    between.at(2, lambda: promote(local, three, run="1"))
    between.at(5, lambda: promote(local, one_, run="2"))
    between.at(8, lambda: roll_back(local, one_, BASE, run="3"))
    between.at(10, lambda: promote(local, three, run="4"))
    local.run("s", LEARNING, cycles=14, stop=between)
    assert len(adoptions(local, "s")) == 4
    row = one(local.log, registry=shelf.registry)
    assert whole(row)
    assert row.surprise is not None
    assert row.surprise.recorded_nats == row.surprise.policy_nats
    shutil.rmtree(shelf.folder(one_))
    with pytest.raises(UsageError, match=f"it went by the model {one_}"):
        one(local.log, registry=shelf.registry)


def test_another_model_stands_in_as_a_promoted_one_where_sessions_act_by_what_is_promoted(
    local: Local, shelf: Shelf, one_: ModelId, three: ModelId
) -> None:
    promote(local, three)
    local.run("by-three", LEARNING, cycles=8)
    local.run("by-base", LEARNING, cycles=8, model=BASE, purpose="evaluation")
    assert whole(one(local.log, "by-three", registry=shelf.registry, world_model=three))
    assert one(local.log, "by-three", registry=shelf.registry, world_model=one_).identical == 0
    assert one(local.log, "by-base", registry=shelf.registry, world_model=three).identical == 0
    assert one(local.log, "by-three", registry=shelf.registry, world_model="linear").identical == 0
    assert whole(one(local.log, "by-base", registry=shelf.registry, world_model="linear"))


def test_a_fork_and_a_snapshot_go_on_with_what_was_taken_up(
    local: Local, shelf: Shelf, one_: ModelId, three: ModelId
) -> None:
    promote(local, one_, run="1")
    between = Between(local, "p").at(2, lambda: promote(local, three, run="2"))
    expected = local.run("p", LEARNING, cycles=8, stop=between)
    closed = [r.version for r in local.events("p", "session.cycle_closed")]
    fork(local.log, "p", at=closed[4], new="f")
    assert local.run("f", LEARNING, cycles=8).state_hash == expected.state_hash
    assert pinned_by(local.log, "session/f") == three
    fork(local.log, "p", at=closed[1], new="g")
    assert pinned_by(local.log, "session/g") == one_
    assert local.run("g", LEARNING, cycles=8).state_hash == expected.state_hash
    here = stand(local.log, "session/p", None)
    end = local.events("p")[-1]
    kept = read_snapshot(write_snapshot(local.log, "session/p", here, end.hash))
    assert kept is not None
    assert kept.standing.scene == here.scene
    assert kept.standing.scene.model == three


def test_a_model_that_is_removed_is_kept_by_the_session_that_acts_by_it_and_told_to_new_ones(
    local: Local, shelf: Shelf, one_: ModelId
) -> None:
    promote(local, one_)
    expected = local.run("whole", LEARNING, cycles=6)

    def lose() -> None:
        shutil.rmtree(shelf.folder(one_), ignore_errors=True)

    assert local.run("s", LEARNING, cycles=6, stop=Between(local, "s").at(2, lose)).state_hash == expected.state_hash
    with pytest.raises(NotFound, match=one_):
        local.run("t", LEARNING, cycles=6)
    assert local.types("t") == []


def test_a_session_at_rest_whose_model_is_gone_says_so_and_goes_on_once_it_is_back(
    local: Local, shelf: Shelf, made: dict[str, tuple[Path, ModelId]], one_: ModelId
) -> None:
    promote(local, one_)
    expected = local.run("whole", LEARNING, cycles=6)
    local.run("s", LEARNING, cycles=6, stop=iter([False] * 3 + [True]).__next__)
    shutil.rmtree(shelf.folder(one_))
    before = local.log.head("session/s")
    with pytest.raises(Unavailable, match=rf"acts by the model {one_}.*session resume s"):
        local.run("s", LEARNING, cycles=6)
    assert local.log.head("session/s") == before
    shelf.put(*made["one"])
    assert local.run("s", LEARNING, cycles=6).state_hash == expected.state_hash


def test_a_session_at_rest_whose_model_is_gone_goes_on_by_the_one_that_stands_now(
    local: Local, shelf: Shelf, one_: ModelId, three: ModelId
) -> None:
    promote(local, one_, run="1")
    local.run("s", LEARNING, cycles=6, stop=iter([False] * 3 + [True]).__next__)
    shutil.rmtree(shelf.folder(one_))
    promote(local, three, run="2")
    local.run("s", LEARNING, cycles=6)
    assert set(predicted_by(local, "s")) == {one_, three}
    assert pinned_by(local.log, "session/s") == three


@pytest.mark.parametrize("wrong", ["missing", "altered", "elsewhere"])
def test_a_promoted_model_that_cannot_be_taken_up_leaves_the_session_as_it_is(
    local: Local,
    shelf: Shelf,
    made: dict[str, tuple[Path, ModelId]],
    wrong: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = made["elsewhere" if wrong == "elsewhere" else "one"][1]
    if wrong == "missing":
        shutil.rmtree(shelf.folder(model))
    if wrong == "altered":
        (shelf.folder(model) / "model.safetensors").write_bytes(b"no model")
    expected = local.run("base", LEARNING, cycles=6)
    local.run("s", LEARNING, cycles=6, stop=Between(local, "s").at(2, lambda: promote(local, model)))
    assert adoptions(local, "s") == []
    assert local.run("s", LEARNING, cycles=6).state_hash == expected.state_hash
    assert story(local.events("s")) == story(local.events("base"))
    told = capsys.readouterr().err
    assert told.count("session/s goes on as its scenario says: ") == 1
    assert model.partition("@")[2] in told


def test_a_session_outside_the_share_of_a_canary_goes_on_as_it_did(local: Local, shelf: Shelf, one_: ModelId) -> None:
    inside = next(f"c{n}" for n in range(99) if drawn(f"session/c{n}", one_) < 0.2)
    outside = next(f"c{n}" for n in range(99) if drawn(f"session/c{n}", one_) >= 0.2)
    promote(local, one_, share=0.2)
    for name in (inside, outside):
        local.run(name, LEARNING, cycles=3, model=BASE)
    (adopted,) = adoptions(local, inside)
    assert isinstance(adopted.event, learn.ModelAdopted)
    assert adopted.event.why == "promoted to 0.2 of the sessions"
    assert adoptions(local, outside) == []


def test_a_scenario_that_names_a_model_follows_its_promotions(
    local: Local, shelf: Shelf, one_: ModelId, three: ModelId
) -> None:
    named = f'{LINE}\n[world_model]\nkind = "trained"\nmodel = "tiny"\n'
    (shelf.registry.folder / "tiny" / "latest").write_text(f"{three.partition('@')[2]}\n")
    local.run("s", named, cycles=6, stop=Between(local, "s").at(3, lambda: promote(local, one_)))
    assert predicted_by(local, "s")[:3] == [three] * 3
    assert set(predicted_by(local, "s")[3:]) == {one_}
    assert plans(local, "s") == [], "it reasons as it says"
    roll_back(local, one_, three)
    local.run("t", named, cycles=3)
    assert set(predicted_by(local, "t")) == {three}


def test_sessions_that_act_by_different_models_are_planned_for_by_their_own(
    local: Local, shelf: Shelf, one_: ModelId, three: ModelId
) -> None:
    for name, model in (("a", one_), ("b", three), ("c", one_)):
        local.run(name, LEARNING, cycles=3, model=model, purpose="evaluation")
    contexts = [moments(local, name)[1] for name in ("a", "b", "c")]
    scenario = parse_scenario(LEARNING, source="scenario").scenario
    phases = compose(scenario, read=Reader(registry=shelf.registry))
    phases.reason.ahead(contexts)
    assert isinstance(phases.reason.planning(), ActiveInference)
    for name, context in zip(("a", "b", "c"), contexts, strict=True):
        planned, *_ = phases.reason.propose(context)
        recorded = plans(local, name)[1]
        assert isinstance(planned, reason.Planned)
        assert (planned.model, planned.belief) == (recorded.model, recorded.belief)
        assert [w.energy for w in planned.options] == pytest.approx([w.energy for w in recorded.options], rel=1e-4)
