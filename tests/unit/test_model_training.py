"""From sessions on a log to a kept model: what is chosen, what is held out, what is said of it, and what stops it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np
import pytest

from loops.errors import NothingToLearn
from loops.lessons import read_lessons
from runtime.entry import enter, entered
from runtime.errors import NotFound, Unavailable, UsageError, VerificationFailed
from runtime.hosting.cluster import connected
from runtime.models.learnt import FILE, read_learnt
from runtime.models.reading import opened_model, subject
from runtime.models.registry.store import Registry, find, kept
from runtime.models.training.learn_from import learn_from
from runtime.models.training.sources import sources
from runtime.models.training.train import Made, Order, Told, Watch, split, train
from runtime.models.training.unfinished import Storage
from runtime.people import letters
from runtime.settings import Settings
from telemetry.events.learn import ModelTrained, TrainingProgressed
from telemetry.log import EventLog, open_log
from tests.desks import PlayedDesk, served
from tests.jepa_worlds import CONFIG, spring
from tests.local import Local
from world_model.errors import AlteredCheckpoint, LossNotFinite, TooFewTransitions
from world_model.frozen import FrozenLinear
from world_model.jepa.model import Jepa

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 25, episodes = 99 }
world_model = { kind = "none" }
memory = { recall = 0 }
"""
OTHER = (
    LINE.replace('"line"', '"other"')
    .replace("AetherLine-v0", "AetherBad-v0")
    .replace("99 }", "99, success = 'reward' }")
)
SESSIONS, CYCLES, STEPS = 8, 60, 120


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    """A log at rest, of eight sessions in the plane."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    with closing(open_log(path)) as log:
        local = Local(log)
        for number in range(SESSIONS):
            local.run(f"line-{number}", LINE, seed=number, cycles=CYCLES)
        local.close()
    with closing(open_log(path, mode="read")) as log:
        yield log


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """A Ray of this process' own, for trainings of a jepa."""
    before = signal.getsignal(signal.SIGTERM)
    with connected(Settings()):
        yield
    signal.signal(signal.SIGTERM, before)


def made(log: EventLog, home: Path, order: Order, watch: Watch | None = None, *, where: str | None = None) -> Made:
    chosen = sources(log, scenario="line", where=where)
    return train(log, chosen, order, **kept_in(home), watch=watch or Watch())


class Places(TypedDict):
    registry: Registry
    storage: Storage


def kept_in(home: Path) -> Places:
    return Places(registry=Registry(folder=home / "models"), storage=Storage(home / "training"))


@pytest.fixture(scope="module")
def trained(recorded: EventLog, ray: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("home")
    return made(recorded, home, Order(name="plane", config=CONFIG, steps=STEPS, seed=3))


def test_a_model_is_kept_with_what_it_was_learnt_from_and_how_well_it_foresees(
    trained: Made, recorded: EventLog
) -> None:
    artifact = opened_model(trained.kept)
    assert isinstance(artifact.model, Jepa)
    assert artifact.model_id == trained.kept.model == trained.learnt.model
    assert artifact.landmarks is not None
    assert read_learnt(trained.kept.folder) == trained.learnt
    learnt = trained.learnt
    assert learnt.sessions == tuple(f"line-{number}" for number in range(SESSIONS))
    assert learnt.transitions == read_lessons(recorded, sources(recorded)).experience.transitions
    assert 0 < learnt.held_out < learnt.transitions / 2
    assert (learnt.scenarios, learnt.environments) == (("line",), ("gymnasium:AetherLine-v0",))
    assert learnt.config["latent"] == CONFIG.latent
    assert learnt.metrics["error_over_copy"] < 1
    assert artifact.metrics == learnt.metrics
    assert (learnt.stopped, trained.failure, trained.kept.latest) == (None, None, True)


def test_equal_orders_on_an_equal_log_give_the_same_digest(trained: Made, recorded: EventLog, tmp_path: Path) -> None:
    again = made(recorded, tmp_path, Order(name="plane", config=CONFIG, steps=STEPS, seed=3))
    assert again.kept.digest == trained.kept.digest
    assert again.learnt.metrics["loss"] == trained.learnt.metrics["loss"]
    assert not list((tmp_path / "training").iterdir()), "its states are gone"


def test_a_linear_model_is_learnt_judged_and_kept_like_any_other(recorded: EventLog, tmp_path: Path) -> None:
    linear = made(recorded, tmp_path, Order(name="flat", kind="linear"))
    assert isinstance(opened_model(linear.kept).model, FrozenLinear)
    assert linear.learnt.metrics["error_over_linear"] == 1
    assert linear.learnt.metrics["error_over_copy"] < 0.1  # the plane is linear
    assert linear.learnt.config == {}


def test_evaluations_are_left_out_and_counted_and_without_others_there_is_nothing_to_learn(
    recorded: EventLog, tmp_path: Path
) -> None:
    first, *others = sources(recorded, where="scenario = 'line'")
    judged = replace(first, opened=first.opened.model_copy(update={"purpose": "evaluation"}))
    order = Order(name="flat", kind="linear", where="scenario = 'line'")
    learnt = train(recorded, [judged, *others], order, **kept_in(tmp_path), watch=Watch()).learnt
    assert learnt.excluded == learnt.event.config["excluded"] == {"evaluation": 1}
    assert learnt.where == learnt.event.config["where"] == "scenario = 'line'"
    assert learnt.sessions == tuple(f"line-{number}" for number in range(1, SESSIONS))
    assert learnt.data == made(recorded, tmp_path, order, where="seed > 0").learnt.data
    with pytest.raises(NothingToLearn, match="all of the 1 sessions are withheld from learning: 1 evaluation"):
        train(recorded, [judged], order, **kept_in(tmp_path), watch=Watch())


def test_a_registry_that_takes_no_model_is_known_before_anything_is_read(recorded: EventLog, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    read: list[int] = []
    with pytest.raises(Unavailable, match="cannot be kept"):
        made(recorded, tmp_path, Order(name="flat", kind="linear"), Watch(read=read.append))
    assert read == []


def test_with_the_log_at_hand_the_held_out_episodes_are_read_again(trained: Made, recorded: EventLog) -> None:
    artifact = opened_model(trained.kept)
    assert artifact.landmarks is not None
    found, missing = subject(trained.kept, artifact, trained.learnt, artifact.landmarks, log=None)
    assert missing is None
    assert found.held_out is not None
    assert found.held_out.transitions == trained.learnt.held_out
    lived = read_lessons(recorded, sources(recorded)).experience
    _, held_out = split(lived)
    np.testing.assert_array_equal(found.held_out.position_N, held_out.position_N)


def test_without_that_log_it_says_what_is_missing(trained: Made, tmp_path: Path) -> None:
    artifact = opened_model(trained.kept)
    assert artifact.landmarks is not None
    nowhere = str(tmp_path / "nowhere.db")
    found, missing = subject(trained.kept, artifact, trained.learnt, artifact.landmarks, log=nowhere)
    assert found.held_out is None
    assert missing is not None
    assert "nowhere.db" in missing
    other = trained.learnt.model_copy(update={"data": "0" * 64})
    _, missing = subject(trained.kept, artifact, other, artifact.landmarks, log=None)
    assert missing is not None
    assert "gives other data than plane@" in missing


def test_who_looks_on_hears_of_sessions_and_steps_and_may_end_it_and_so_hears_the_log(
    recorded: EventLog, ray: None, tmp_path: Path
) -> None:
    read: list[int] = []
    told: list[Told] = []
    looked: list[TrainingProgressed] = []
    watch = Watch(read.append, told.append, looked.append, stop=lambda: bool(looked))
    order = Order(name="ended", config=CONFIG, seconds=60, seed=3)
    done = learn_from(recorded.url, sources(recorded), order, **kept_in(tmp_path), watch=watch, said=pytest.fail)
    learnt = done.made.learnt
    assert (len(read), sum(read)) == (SESSIONS, learnt.transitions)
    assert (learnt.stopped, done.made.kept.latest) == ("interrupted", True)
    assert [one.step for one in told] == sorted(one.step for one in told)
    assert learnt.metrics["steps"] >= looked[0].step > 0
    assert looked[0].parts.keys() > {"sigreg"}
    *looks, last = recorded.read("model/ended")
    assert [one.event for one in looks] == looked
    assert (last.id, last.event) == (done.event, learnt.event)
    assert {one.run for one in looked} == {learnt.run} == {learnt.event.config["run"]}


def test_ended_before_there_is_anything_to_keep_nothing_is_kept(recorded: EventLog, ray: None, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made(recorded, tmp_path, Order(name="plane", config=CONFIG, steps=STEPS), Watch(stop=lambda: True))
    assert kept(kept_in(tmp_path)["registry"]) == []


def test_a_training_that_goes_wrong_keeps_its_last_good_model_beside_the_latest(
    recorded: EventLog, ray: None, tmp_path: Path
) -> None:
    good = made(recorded, tmp_path, Order(name="plane", kind="linear"))
    rushed = CONFIG.model_copy(update={"learning_rate": 1.0})
    failed = made(recorded, tmp_path, Order(name="plane", config=rushed, steps=STEPS, seed=3))
    assert isinstance(failed.failure, LossNotFinite)
    assert failed.failure.first_position >= failed.learnt.from_position
    assert failed.failure.last_position <= failed.learnt.to_position
    assert failed.learnt.stopped == str(failed.failure)
    assert not failed.kept.latest
    assert find(kept_in(tmp_path)["registry"], "plane").digest == good.kept.digest
    assert opened_model(failed.kept).model_id == failed.learnt.model


def test_too_few_transitions_say_how_many_there_are_and_how_many_it_needs() -> None:
    with pytest.raises(TooFewTransitions, match=r"there are 200 transitions; a model needs at least 223"):
        split(spring(rows=220, episodes=20))
    learnt, held_out = split(spring(rows=243, episodes=20))
    assert not set(learnt.position_N) & set(held_out.position_N)


def test_a_log_of_several_worlds_asks_which(local: Local) -> None:
    with pytest.raises(NotFound, match=r"no session of .* moves in a world"):
        sources(local.log)
    local.run("line", LINE, cycles=3)
    local.run("other", OTHER, cycles=3)
    with pytest.raises(UsageError, match=r"of 2 worlds: .*AetherLine-v0 in scenario 'line'; .*--scenario"):
        sources(local.log)
    assert [one.stream for one in sources(local.log, scenario="other")] == ["session/other"]
    assert [one.stream for one in sources(local.log, ["line", "session/line"])] == ["session/line"]
    with pytest.raises(UsageError, match="not both"):
        sources(local.log, ["line"], scenario="line")
    with pytest.raises(NotFound, match="did you mean 'line'"):
        sources(local.log, ["lime"])


def test_words_are_nothing_to_learn_moves_from(local: Local) -> None:
    local.run("line", LINE, cycles=3)
    local.run("words", LINE.replace("AetherLine-v0", "AetherWordy-v0"), cycles=3)
    assert [one.stream for one in sources(local.log)] == ["session/line"]
    with pytest.raises(NothingToLearn, match="nothing numeric is seen or nothing is moved"):
        read_lessons(local.log, sources(local.log, ["words"]))


def test_what_lies_in_a_folder_under_another_name_is_refused(trained: Made, recorded: EventLog, tmp_path: Path) -> None:
    one = made(recorded, tmp_path, Order(name="flat", kind="linear")).kept
    moved = one.folder.rename(one.folder.with_name("0" * 12))
    with pytest.raises(VerificationFailed, match="not what its folder is called"):
        opened_model(one._replace(digest="0" * 12, folder=moved))
    (moved / FILE).write_text('{"model": 7}')
    with pytest.raises(VerificationFailed, match="values are not of their kind"):
        read_learnt(moved)
    file = moved / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(AlteredCheckpoint):
        opened_model(one._replace(digest="0" * 12, folder=moved))


def test_a_training_is_entered_once_with_the_sessions_it_learnt_from(trained: Made, log: EventLog) -> None:
    event = trained.learnt.event
    assert entered(log, event, refs=trained.ends, run="a") == entered(log, event, refs=trained.ends, run="a")
    assert entered(log, event, refs=trained.ends, run="b") == "model/plane@2"
    (first, _) = log.read("model/plane")
    assert first.event == event
    assert isinstance(event, ModelTrained)
    assert (event.model, event.data, event.code) == (trained.kept.model, trained.learnt.data, trained.learnt.code)
    assert event.metrics == trained.learnt.metrics
    assert event.config["environments"] == ["gymnasium:AetherLine-v0"]
    assert event.config["held_out"] == trained.learnt.held_out
    assert event.config["settings"] == {**CONFIG.model_dump(mode="json"), "steps": STEPS}
    assert all(f'"session/line-{number}@' in first.refs for number in range(SESSIONS))


def test_a_live_host_of_the_log_enters_it(
    trained: Made, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "ROOT", tmp_path_factory.mktemp("m"))
    with served(PlayedDesk(), tmp_path / "log.db"):
        entry = enter(str(tmp_path / "log.db"), trained.learnt.event, refs=trained.ends, run="a")
    assert entry == "model/plane@1"
    assert not (tmp_path / "log.db").exists()
