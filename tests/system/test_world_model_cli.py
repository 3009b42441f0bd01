"""From sessions that explore to a model and its pictures, by the commands alone."""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.events.learn import ModelTrained
from telemetry.log import open_log
from tests.aether import Aether, wait_until

SCENARIO = """\
name = "explore"
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
PICTURES = ["paths.png", "landmarks.png", "cost-to-go.png", "reliability.png"]
TRAIN = ("train", "world-model", "umaze", "--scenario", "explore")


@pytest.fixture(scope="module")
def explored() -> Iterator[Aether]:
    """A home whose log holds eight short lives in a maze, and a model that learnt a little from them."""
    aether = Aether()
    file = aether.folder / "explore.toml"
    file.write_text(SCENARIO)
    ran = aether("run", str(file), "--json")
    assert ran.code == 0, ran.err
    trained = aether(*TRAIN, "--steps", "40", "--seed", "1", "--json")
    assert trained.code == 0, trained.err
    yield aether
    aether.remove()


def latest(aether: Aether) -> Path:
    folder = aether.home / "models" / "umaze"
    return folder / (folder / "latest").read_text().strip()


def test_a_training_is_an_event_that_says_what_was_learnt_from_and_how_well(explored: Aether) -> None:
    (row,) = explored("model", "show", "umaze", "--json").rows
    with closing(open_log(explored.log, mode="read")) as log:
        recorded = next(log.read("model/umaze"))
        event = recorded.event
    assert isinstance(event, ModelTrained)
    assert event.model == row["model"] == f"umaze@{latest(explored).name}"
    assert (event.from_position, event.to_position) == (row["from_position"], row["to_position"])
    assert (event.data, event.metrics) == (row["data"], row["metrics"])
    assert {"error_over_copy", "error_over_linear", "disagreement_spearman", "nats"} <= set(event.metrics)
    assert len(json.loads(recorded.refs)) == len(row["sessions"]) == 8
    assert row["transitions"] > row["held_out"] > 0
    assert row["layout"]["goal"] == 2


def test_models_are_listed_and_shown_in_words(explored: Aether) -> None:
    listed = explored("model", "list")
    assert listed.out.split()[:2] == ["model", "latest"]
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


def test_where_a_goal_is_declared_and_nobody_says_otherwise_a_linear_model_is_learnt(explored: Aether) -> None:
    trained = explored("train", "world-model", "plain")
    assert trained.code == 0, trained.err
    assert "  linear, seed 0" in trained.out.splitlines()[0]
    assert "transitions in" in trained.out.splitlines()[-3]
    assert "Next: aether model show plain --plot" in trained.out


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
    with explored.start(*TRAIN, "--seconds", "300", "--seed", "2", terminal=True) as started:
        wait_until(lambda: "misses" in started.shown(), timeout_s=120, what="a first look at held-out sessions")
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
        (("train", "world-model", "umaze", "--scenario", "explored"), 3, "did you mean 'explore'"),
        (("train", "world-model", "umaze", "nobody"), 3, "there is no session 'nobody'"),
        (("train", "world-model", "umaze", "--steps", "5", "--seconds", "5"), 2, "not both"),
        (("train", "world-model", "umaze", "--kind", "linear", "--steps", "5"), 2, "are of the jepa"),
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
