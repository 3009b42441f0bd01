"""From sessions that explore to a model and its pictures, by the commands alone."""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.events.learn import ModelTrained, TrainingProgressed
from telemetry.log import EventLog, open_log
from tests.aether import Aether, wait_until
from tests.clusters import Head
from tests.collector import collecting

SCENARIO = """\
name = "wander"
seed = 5
sessions = 8
cycles = 60
[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 100
episodes = 1000
[world_model]
kind = "none"
"""
LONG = 2000
"""Steps of a training that is killed meanwhile: longer than it takes until a state is kept."""
PICTURES = ["paths.png", "landmarks.png", "cost-to-go.png", "reliability.png"]
TRAIN = ("train", "world-model", "umaze", "--scenario", "wander")


@pytest.fixture(scope="module")
def explored(head: Head) -> Iterator[Aether]:
    """A home whose log holds eight short lives in a maze, and a model that two workers taught a little."""
    aether = Aether()
    aether.attach(head)
    file = aether.folder / "explore.toml"
    file.write_text(SCENARIO)
    ran = aether("run", str(file), "--json")
    assert ran.code == 0, ran.err
    trained = aether(*TRAIN, "--steps", "40", "--seed", "1", "--workers", "2", "--json")
    assert trained.code == 0, trained.err
    yield aether
    aether.remove()


def latest(aether: Aether) -> Path:
    folder = aether.home / "models" / "umaze"
    return folder / (folder / "latest").read_text().strip()


def looks_of(log: EventLog, *, steps: int) -> list[TrainingProgressed]:
    """Those of the training that was to take so many steps."""
    events = [one.event for one in log.read("model/umaze", types=("learn.training_progressed",))]
    return [event for event in events if isinstance(event, TrainingProgressed) and event.steps == steps]


def kept_in(states: Path) -> bool:
    """Whether Ray Train has noted a state to go on from."""
    return any("checkpoint_" in file.read_text() for file in states.glob("*/*/checkpoint_manager_snapshot.json"))


def test_a_training_is_an_event_that_says_what_was_learnt_from_and_how_well(explored: Aether) -> None:
    (row,) = explored("model", "show", "umaze", "--json").rows
    with closing(open_log(explored.log, mode="read")) as log:
        (recorded,) = log.read("model/umaze", types=("learn.model_trained",))
        looks = looks_of(log, steps=40)
        event = recorded.event
    assert isinstance(event, ModelTrained)
    assert event.model == row["model"] == f"umaze@{latest(explored).name}"
    assert (event.from_position, event.to_position) == (row["from_position"], row["to_position"])
    assert (event.data, event.metrics) == (row["data"], row["metrics"])
    assert {"error_over_copy", "error_over_linear", "disagreement_spearman", "nats"} <= set(event.metrics)
    assert len(json.loads(recorded.refs)) == len(row["sessions"]) == 8
    assert row["transitions"] > row["held_out"] > 0
    assert row["layout"]["goal"] == 2
    assert row["workers"] == event.config["workers"] == 2
    assert len({look.run for look in looks}) == 1
    assert {(look.model, look.steps, look.workers) for look in looks} == {("umaze", 40, 2)}
    assert [look.step for look in looks] == sorted({look.step for look in looks})
    assert (looks[-1].step, looks[-1].loss) == (event.metrics["steps"], event.metrics["loss"])


def test_models_are_listed_and_shown_in_words(explored: Aether) -> None:
    listed = explored("model", "list")
    assert listed.out.split()[:3] == ["model", "promoted", "latest"]
    assert f"umaze@{latest(explored).name}" in listed.out
    first, *older = explored("model", "list", "umaze", "--json").rows
    assert (first["latest"], any(row["latest"] for row in older)) == (True, False)
    shown = explored("model", "show", "umaze")
    assert shown.code == 0, shown.err
    assert "observation (4,); goal of 2; box controls of 2" in shown.out
    assert "of a copy's" in shown.out


def test_pictures_are_drawn_of_what_it_foresaw_and_without_the_log_of_what_it_holds(
    explored: Aether, tmp_path: Path
) -> None:
    drawn = explored("model", "show", "umaze", "--plot", "--out", str(tmp_path / "all"), "--json")
    assert drawn.code == 0, drawn.err
    assert drawn.rows[0]["pictures"] == [str(tmp_path / "all" / name) for name in PICTURES]
    for name in PICTURES:
        content = (tmp_path / "all" / name).read_bytes()
        assert content.startswith(b"\x89PNG\r\n")
        width, height = struct.unpack(">II", content[16:24])
        assert (width > 900, height > 500) == (True, True)
    elsewhere = str(tmp_path / "nowhere.db")
    part = explored("model", "show", "umaze", "--plot", "--out", str(tmp_path / "part"), "--log", elsewhere)
    assert part.code == 0, part.err
    assert "what needs the log is left out: there is no log" in part.err
    assert sorted(path.name for path in (tmp_path / "part").iterdir()) == ["cost-to-go.png", "landmarks.png"]


def test_where_a_goal_is_declared_and_nobody_says_otherwise_a_linear_model_is_learnt_and_called_after_the_scenario(
    explored: Aether,
) -> None:
    trained = explored("train", "world-model", "--where", "seed is not null and cycles >= 60")
    assert trained.code == 0, trained.err
    first, *lines = trained.out.splitlines()
    assert (first.startswith("wander@"), first.endswith("  linear, seed 0")) == (True, True)
    assert "chosen by     seed is not null and cycles >= 60" in lines
    assert "transitions in" in lines[-3]
    assert lines[-1] == f"Next: aether model show {first.split()[0]} --plot"


def test_from_exported_records_the_same_model_is_learnt_elsewhere(explored: Aether, tmp_path: Path) -> None:
    records, elsewhere = str(tmp_path / "records"), {"AETHER_HOME": str(tmp_path / "elsewhere")}
    with closing(open_log(explored.log, mode="read")) as log:
        here = next(one.event for one in log.read("model/umaze", types=("learn.model_trained",)))
    assert isinstance(here, ModelTrained)
    assert explored("trace", "export", "--file", records, "--no-spans").code == 0
    assert explored("log", "rebuild", "--from-otlp", records, env=elsewhere).code == 0
    order = (*TRAIN, "--steps", "40", "--seed", "1", "--workers", "2", "--json")
    trained = explored(*order, env=elsewhere)
    assert trained.code == 0, trained.err
    (row,) = trained.rows
    assert (row["model"], row["data"]) == (here.model, here.data)
    assert row["metrics"]["loss"] == here.metrics["loss"]
    assert Path(row["folder"]).is_relative_to(tmp_path)


def test_a_collector_hears_of_a_training(explored: Aether) -> None:
    with collecting() as collector:
        variables = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        trained = explored("train", "world-model", "heard", "--json", env=variables)
    assert trained.code == 0, trained.err
    found = collector.metrics
    (over_copy,) = found["aetherloop.model.error_over_copy"].gauge.data_points
    assert over_copy.as_double == trained.rows[0]["metrics"]["error_over_copy"]
    attributes = {one.key: one.value.string_value for one in over_copy.attributes}
    assert attributes == {"aetherloop.model.name": "heard", "aetherloop.model.kind": "linear"}
    assert found["aetherloop.training.duration"].histogram.data_points[0].count == 1


def test_a_training_that_was_killed_goes_on_when_the_same_is_ordered_again(explored: Aether) -> None:
    order = (*TRAIN, "--steps", str(LONG), "--seed", "3")
    states = explored.home / "training"
    with explored.start(*order) as started:
        wait_until(lambda: kept_in(states), what="a state is kept")
        started.kill()
    assert len(list(states.iterdir())) == 1
    again = explored(*order, "--json")
    assert again.code == 0, again.err
    metrics = again.rows[0]["metrics"]
    assert list(states.iterdir()) == []
    with closing(open_log(explored.log, mode="read")) as log:
        looks = looks_of(log, steps=LONG)
    assert len({look.run for look in looks}) == 1, "before and after it is one training"
    assert [look.step for look in looks] == sorted({look.step for look in looks})
    assert looks[0].step < metrics["resumed_at"] < looks[-1].step == metrics["steps"]


def test_a_gpu_where_there_is_none_is_exit_6(explored: Aether) -> None:
    refused = explored(*TRAIN, "--gpu", "--log", "nowhere.db", "--json")
    assert refused.code == 6, refused.err
    assert "GPU" in refused.json["error"]["message"], "before the log is looked for"


def test_an_altered_model_is_refused(explored: Aether) -> None:
    file = latest(explored) / "model.safetensors"
    whole = file.read_bytes()
    altered = bytearray(whole)
    altered[-3] ^= 1
    file.write_bytes(altered)
    try:
        refused = explored("model", "show", "umaze")
        assert (refused.code, refused.out) == (4, "")
        assert "was altered" in refused.err
        assert "Traceback" not in refused.err
    finally:
        file.write_bytes(whole)


def test_ctrl_c_keeps_the_best_so_far_and_says_so(explored: Aether) -> None:
    alone = Aether(explored.folder)  # with a Ray of its own, which the terminal's signal reaches as well
    with alone.start(*TRAIN, "--seconds", "300", "--seed", "2", terminal=True) as started:
        wait_until(lambda: "misses" in started.shown(), what="a first look at held-out sessions")
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code == 130
    assert "the best model so far is kept as umaze@" in ended.out
    (row,) = explored("model", "show", "umaze", "--json").rows
    assert (row["seed"], row["stopped"]) == (2, "interrupted")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("model", "show", "umase"), 3, "did you mean 'umaze'"),
        (("model", "list", "umase"), 3, "did you mean 'umaze'"),
        (("model", "show", "umaze", "--out", "x"), 2, "give --plot too"),
        (("train", "world-model", "Umaze"), 2, "is no name of a model"),
        (("train", "world-model", "umaze", "--scenario", "wanders"), 3, "did you mean 'wander'"),
        (("train", "world-model", "umaze", "nobody"), 3, "there is no session 'nobody'"),
        (("train", "world-model", "umaze", "--steps", "5", "--seconds", "5"), 2, "not both"),
        (("train", "world-model", "umaze", "--kind", "linear", "--steps", "5"), 2, "are of the jepa"),
        (("train", "world-model", "umaze", "--kind", "linear", "--workers", "2"), 2, "are of the jepa"),
        (
            ("train", "world-model", "umaze", "--workers", "3"),
            2,
            "3 workers cannot share a step's 128 sequences evenly",
        ),
        (("train", "world-model", "umaze", "--where", "cycels > 1"), 2, "did you mean 'cycles'"),
        (("train", "world-model", "umaze", "--where", "cycles > 1000"), 3, "there is none with cycles > 1000"),
        (("train", "world-model", "umaze", "--log", "nowhere.db"), 3, "there is no log"),
    ],
)
def test_a_mistake_ends_with_its_code(explored: Aether, arguments: tuple[str, ...], code: int, said: str) -> None:
    ran = explored(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_one_short_session_is_too_little_and_it_says_how_little(explored: Aether) -> None:
    session = explored("session", "list", "--limit", "1", "--json").rows[0]["session"]
    refused = explored("train", "world-model", "umaze", session, "--json")
    assert refused.code == 2
    message = refused.json["error"]["message"]
    assert "transitions; a model needs at least 223" in message
