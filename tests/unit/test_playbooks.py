"""Playbooks on the log: versions that are never lost, found by name or digest, and the commands for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.cli.playbook import app
from runtime.errors import NotFound, UsageError
from runtime.playbooks import find, page, read_playbook, version, versions, write
from telemetry.errors import LogHeld
from telemetry.events import Draft
from telemetry.events.learn import ModelTrained
from telemetry.events.values import Playbook
from telemetry.log import EventLog, open_log

ASKS = Playbook(name="refunds", prompt="Ask for the order first.", tools=("find_order",))
ACTS = ASKS.model_copy(update={"prompt": "Look the order up yourself."})
FILE = """
name = "refunds"
prompt = "Ask for the order first."
strategies = ["look it up", "ask"]
tools = ["find_order"]
"""


def test_a_version_is_laid_down_once_and_found_by_name_and_by_digest(log: EventLog) -> None:
    first = write(log, ASKS, why="first try")
    assert (first, write(log, ASKS)) == (ASKS.id, ASKS.id)
    assert log.position() == 1
    second = write(log, ACTS, why="people do not know their order")
    assert [(v.playbook, v.previous, v.why) for v in versions(log, "refunds")] == [
        (ACTS, first, "people do not know their order"),
        (ASKS, None, "first try"),
    ]
    assert find(log, "refunds") == find(log, second) == ACTS
    assert find(log, first) == ASKS
    assert version(log, first).event == "model/refunds@1"


def test_an_older_version_written_again_becomes_the_newest(log: EventLog) -> None:
    for playbook in (ASKS, ACTS, ASKS):
        write(log, playbook)
    assert find(log, "refunds") == ASKS
    assert [v.playbook.id for v in versions(log, "refunds")] == [ASKS.id, ACTS.id, ASKS.id]
    assert log.verify().ok


def test_what_is_not_there_is_answered_with_the_nearest(log: EventLog) -> None:
    with pytest.raises(NotFound, match="this log holds no playbook yet"):
        find(log, "refunds")
    write(log, ASKS)
    with pytest.raises(NotFound, match="did you mean 'refunds'"):
        find(log, "refund")
    with pytest.raises(NotFound, match=f"did you mean '{ASKS.id}'"):
        find(log, ASKS.id[:-2] + "zz")


def test_playbooks_are_listed_in_pages_and_other_models_are_not_among_them(log: EventLog) -> None:
    trained = ModelTrained(
        model="linear@1", from_position=0, to_position=1, data="0" * 64, config={}, code="c", metrics={}
    )
    log.append("model/linear", [Draft(event=trained, command="train")], expected_version=0, epoch=1)
    for name in "abcde":
        write(log, Playbook(name=name))
    write(log, Playbook(name="c", prompt="newer"))
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        rows, after = page(log, after=after, limit=2)
        found += [row.playbook.name + row.playbook.prompt for row in rows]
    assert found == ["a", "b", "cnewer", "d", "e"]
    with pytest.raises(NotFound, match="no playbook 'linear'"):
        find(log, "linear")


def test_a_playbook_stands_beside_other_events_of_its_stream(log: EventLog) -> None:
    rejected = ModelTrained(
        model="refunds@1", from_position=0, to_position=1, data="0" * 64, config={}, code="c", metrics={}
    )
    log.append("model/refunds", [Draft(event=rejected, command="write.9")], expected_version=0, epoch=4)
    write(log, ASKS)
    assert version(log, "refunds").event == "model/refunds@2"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "is not TOML"),
        ('name = "Refunds"', "1: name: String should match"),
        ('prompt = "x"', "name: Field required"),
        ('name = "r"\n\nprompts = "x"', "3: unknown key 'prompts'; did you mean 'prompt'?"),
        ('name = "r"\ntools = "find"', "2: tools: Input should be a valid tuple"),
    ],
)
def test_a_file_that_could_not_be_meant_is_answered_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        read_playbook(file)
    assert says in str(error.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_playbook(tmp_path / "none.toml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "refunds.toml"
    path.write_text(FILE)
    return path


def test_the_commands_add_list_and_show(tmp_path: Path, file: Path) -> None:
    runner, log = CliRunner(), str(tmp_path / "new" / "log.db")
    added = runner.invoke(app, ["add", str(file), "--why", "first", "--log", log])
    assert added.exit_code == 0, added.stderr
    playbook = read_playbook(file)
    assert added.stdout == f"{playbook.id}\n"
    again = json.loads(runner.invoke(app, ["add", str(file), "--log", log, "--json"]).stdout)
    assert (again["new"], again["rows"][0]["why"], again["as_of"]) == (False, "first", 1)
    listed = json.loads(runner.invoke(app, ["list", "--log", log, "--json"]).stdout)
    assert [row["playbook"] for row in listed["rows"]] == [playbook.id]
    assert playbook.id in runner.invoke(app, ["list", "--log", log]).stdout
    shown = runner.invoke(app, ["show", playbook.id, "--log", log])
    assert "Ask for the order first." in shown.stdout
    assert "  look it up\n  ask\n" in shown.stdout
    as_json = json.loads(runner.invoke(app, ["show", "refunds", "--log", log, "--json"]).stdout)
    assert as_json["rows"][0]["versions"] == [playbook.id]


def test_the_commands_end_with_their_codes(tmp_path: Path, file: Path) -> None:
    runner, log = CliRunner(), tmp_path / "log.db"
    missing = runner.invoke(app, ["show", "refunds", "--log", str(log)])
    assert (missing.exit_code, missing.stdout) == (3, "")
    file.write_text("nme = 1")
    assert runner.invoke(app, ["add", str(file), "--log", str(log)]).exit_code == 2
    assert not log.exists()


def test_a_log_that_somebody_else_writes_says_who(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "log.db"
    holder = open_log(path)
    with pytest.raises(LogHeld):
        open_log(path)
    refused = CliRunner().invoke(app, ["add", str(file), "--log", str(path)])
    assert refused.exit_code == 6
    assert "is held by pid" in refused.stderr
    assert holder.position() == 0
    holder.close()
    assert CliRunner().invoke(app, ["add", str(file), "--log", str(path)]).exit_code == 0
