"""`aether dataset …` as commands, on a log of recorded sessions."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import open_log
from telemetry.log.imports import import_lines
from tests.aether import Aether, wait_until

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
EVENTS = 432
"""Of the recorded sessions."""

ENDLESS = """
name = "endless"
query = "SELECT a.session, a.sources AS events, n FROM actions a, range(10000000000) AS numbers(n) WHERE n % 7 <> 8"
"""


@pytest.fixture(scope="module")
def aether() -> Iterator[Aether]:
    """Its log holds a maze, a lava grid and a conversation."""
    found = Aether()
    found.home.mkdir()
    with closing(open_log(found.log)) as log:
        for name in ("maze", "lava", "refund"):
            with (GOLDEN / f"{name}.jsonl").open("rb") as lines:
                import_lines(log, lines)
    yield found
    found.remove()


def test_a_dataset_is_built_where_it_is_asked_for_and_the_log_says_so(aether: Aether, tmp_path: Path) -> None:
    built = aether("dataset", "build", "conversation", "--format", "jsonl", "--out", "talks", "--json", cwd=tmp_path)
    assert built.code == 0, built.err
    (row,) = built.rows
    assert built.json["as_of"] == row["pinned_position"] >= EVENTS
    files = [tmp_path / "talks" / one["path"] for one in row["files"]]
    assert hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() == row["digest"]
    assert json.loads(files[0].read_text())["loss_mask"].count(1) == 10
    with closing(open_log(aether.log, mode="read")) as log:
        stream, _, version = row["event"].partition("@")
        (said,) = log.read(stream, after=int(version) - 1, to=int(version))
    assert said.stream == "dataset/conversation"
    assert json.loads(said.payload) == {key: row[key] for key in ("digest", "pinned_position", "rows")} | {
        "recipe": row["dataset"]
    }
    listed = aether("dataset", "list", "conversation", "--json").rows
    assert row["event"] in [one["event"] for one in listed]


def test_the_same_again_builds_and_says_nothing_anew(aether: Aether, tmp_path: Path) -> None:
    once = aether("dataset", "build", "world-modelling", "--out", "moves", "--json", cwd=tmp_path).rows[0]
    again = aether("dataset", "build", "world-modelling", "--out", "moves", "--json", cwd=tmp_path).rows[0]
    assert (once["new"], again["new"]) == (True, False)
    assert once | {"new": False} == again


def test_a_dataset_is_built_again_from_its_own_pin_on_one_thread(aether: Aether, tmp_path: Path) -> None:
    once = aether("dataset", "build", "active-inference", "--out", "a", "--json", cwd=tmp_path).rows[0]
    more = aether("dataset", "build", "conversation", "--out", "talks", cwd=tmp_path)
    assert more.code == 0, more.err
    again = aether("dataset", "build", "a", "--out", "b", "--threads", "1", "--json", cwd=tmp_path).rows[0]
    assert {**again, "folder": ""} == {**once, "folder": ""}
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_without_out_a_dataset_is_called_by_its_name_and_position(aether: Aether, tmp_path: Path) -> None:
    shown = aether("dataset", "build", "execution-feedback", "--at", "300", cwd=tmp_path)
    assert shown.code == 0, shown.err
    assert (tmp_path / "execution-feedback-at-300" / "manifest.json").exists()
    assert "position 300 of log" in shown.out


def test_a_recipe_that_cannot_be_meant_ends_with_2_and_the_nearest_name(aether: Aether, tmp_path: Path) -> None:
    recipe = tmp_path / "moves.toml"
    query = "SELECT session, sources AS events, outcome FROM actions"
    for text, words in (
        (f'name = "moves"\nclases = []\nquery = "{query}"\n', "moves.toml:2: unknown key 'clases'; did you mean"),
        (f'name = "moves"\nquery = "{query.replace("outcome", "outcme")}"\n', "did you mean 'outcome'?"),
    ):
        recipe.write_text(text)
        ended = aether("dataset", "build", "moves.toml", cwd=tmp_path)
        assert ended.code == 2, (text, ended)
        assert words in ended.err, text
    recipe.unlink()
    assert list(tmp_path.iterdir()) == []


def test_show_checks_every_file_of_a_folder_and_explains_a_recipe(aether: Aether, tmp_path: Path) -> None:
    aether("dataset", "build", "conversation", "--out", "talks", cwd=tmp_path)
    shown = aether("dataset", "show", "talks", cwd=tmp_path)
    assert (shown.code, "every file is what was written" in shown.out) == (0, True)
    (file,) = (tmp_path / "talks" / "data").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    altered = aether("dataset", "show", "talks", cwd=tmp_path)
    assert (altered.code, file.name in altered.err) == (4, True)
    recipe = aether("dataset", "show", "conversation")
    assert (recipe.code, "loss_mask" in recipe.out) == (0, True)
    assert aether("dataset", "show", str(tmp_path)).code == 3


def test_another_dataset_is_not_overwritten(aether: Aether, tmp_path: Path) -> None:
    aether("dataset", "build", "conversation", "--out", "talks", cwd=tmp_path)
    refused = aether("dataset", "build", "world-modelling", "--out", "talks", cwd=tmp_path)
    assert (refused.code, "was not touched" in refused.err) == (2, True)
    assert aether("dataset", "show", "talks", cwd=tmp_path).code == 0


def test_ctrl_c_ends_a_build_with_130_and_leaves_nothing(aether: Aether, tmp_path: Path) -> None:
    (tmp_path / "endless.toml").write_text(ENDLESS)
    with aether.start("dataset", "build", "endless.toml", "--out", "there/endless", cwd=tmp_path) as started:
        there = tmp_path / "there"
        wait_until(lambda: any(there.glob(".*/lock")), what="a build that has begun")
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code == 130, ended.err
    assert list(there.iterdir()) == []


def test_a_build_that_is_killed_leaves_nothing_under_its_name_and_the_next_one_cleans_up(
    aether: Aether, tmp_path: Path
) -> None:
    (tmp_path / "endless.toml").write_text(ENDLESS)
    with aether.start("dataset", "build", "endless.toml", "--out", "there/moves", cwd=tmp_path) as started:
        there = tmp_path / "there"
        wait_until(lambda: any(there.glob(".*")), what="a build that has begun")
        started.signal_group(signal.SIGKILL)
        started.end()
    assert not (there / "moves").exists()
    assert aether("dataset", "build", "world-modelling", "--out", "there/moves", cwd=tmp_path).code == 0
    assert [path.name for path in there.iterdir()] == ["moves"]
