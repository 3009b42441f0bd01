"""Every command on a real log, as a person and as a program reads it: answers, errors, exit codes, help."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime import __version__
from telemetry.log import open_log
from tests.aether import ROOT, RUN_TIMEOUT_S, Aether, Ran
from tests.clusters import Head

COMMANDS = (
    ("run",),
    ("session", "list"),
    ("session", "show"),
    ("session", "tail"),
    ("session", "resume"),
    ("session", "approve"),
    ("session", "deny"),
    ("session", "effects"),
    ("session", "reconcile"),
    ("session", "fork"),
    ("chat",),
    ("gateway",),
    ("playbook", "add"),
    ("playbook", "list"),
    ("playbook", "show"),
    ("log", "verify"),
    ("log", "seal"),
    ("log", "follow"),
    ("log", "export"),
    ("log", "import"),
    ("log", "archive"),
    ("log", "prune"),
    ("log", "schema"),
    ("replay",),
    ("rerun",),
    ("chaos",),
    ("doctor",),
)
MAZE = "examples/maze.toml"


class Done:
    """A log that one small run has written, and its sessions."""

    def __init__(self, head: Head) -> None:
        self.aether = Aether()
        self.aether.attach(head)
        self.ran = self.aether("run", MAZE, "--sessions", "2", "--cycles", "6", "--json")
        assert self.ran.code == 0, self.ran.err
        self.sessions = [row["session"] for row in self.ran.rows]

    def __call__(self, *arguments: str) -> Ran:
        return self.aether(*arguments)


@pytest.fixture(scope="module")
def done(head: Head) -> Iterator[Done]:
    made = Done(head)
    yield made
    made.aether.remove()


def test_run_answers_with_its_sessions_and_a_summary(done: Done) -> None:
    answer = done.ran.json
    assert {"as_of", "rows", "next", "summary"} <= answer.keys()
    assert answer["as_of"] == sum(row["version"] for row in answer["rows"])
    assert [row["status"] for row in answer["rows"]] == ["closed"] * 2
    assert answer["summary"]["cycles"] == 12
    assert done.ran.err == "", "nobody else talks on stderr"


def test_run_says_in_words_what_it_came_to_and_what_to_do_next(attached: Aether) -> None:
    ran = attached("run", MAZE, "--sessions", "1", "--cycles", "12")
    assert ran.code == 0
    assert "surprise" in ran.out
    shown = ran.out[ran.out.index("Next: ") :]
    for command in shown.removeprefix("Next: ").strip().split("\n"):
        following = attached(*command.split()[1:])
        assert following.code == 0, f"{command}: {following.err}"


def test_the_same_seed_gives_the_same_states_and_another_seed_others(done: Done, attached: Aether) -> None:
    again = attached("run", MAZE, "--sessions", "2", "--cycles", "6", "--json")
    other = attached("run", MAZE, "--sessions", "2", "--cycles", "6", "--seed", "99", "--json")
    first = [row["state_hash"] for row in done.ran.rows]
    assert [row["state_hash"] for row in again.rows] == first
    assert not {row["state_hash"] for row in other.rows} & set(first)


def test_a_clean_run_leaves_one_file_without_a_write_ahead_log(done: Done) -> None:
    log = done.aether.log
    assert log.stat().st_size > 100_000
    wal = log.with_name("aether.db-wal")
    assert not wal.exists() or wal.stat().st_size == 0
    assert log.with_name("aether.db.lock").read_text() == "", "nobody holds it"


def test_session_list_pages_through_rows_that_say_how_each_session_stands(done: Done) -> None:
    first = done("session", "list", "--limit", "1", "--json").json
    (row,) = first["rows"]
    assert {"session", "status", "cycles", "version", "state_hash"} <= row.keys()
    assert (row["status"], row["cycles"]) == ("closed", 6)
    rest = done("session", "list", "--after", first["next"], "--json").json
    assert rest["next"] is None
    assert sorted(done.sessions) == [row["session"], rest["rows"][0]["session"]]
    words = done("session", "list")
    assert all(session in words.out for session in done.sessions)


def test_session_list_takes_only_those_that_are_asked_for_and_pages_through_them(done: Done) -> None:
    assert done("session", "list", "--status", "waiting", "--status", "open", "--json").rows == []
    assert done("session", "list", "--scenario", "lava", "--json").rows == []
    chosen = ("--status", "closed", "--scenario", "maze", "--newest", "--limit", "1")
    first = done("session", "list", *chosen, "--json").json
    rest = done("session", "list", *chosen, "--after", first["next"], "--json").json
    rows = [*first["rows"], *rest["rows"]]
    assert sorted(row["session"] for row in rows) == sorted(done.sessions)
    assert rows[0]["opened_at"] >= rows[1]["opened_at"]
    assert {row["environment"] for row in rows} == {"gymnasium:PointMaze_UMaze-v3"}
    assert done("session", "list", *chosen).out.endswith(
        f"aether session list --status closed --scenario maze --newest --after {first['next']}\n"
    )
    assert done("session", "list", "--newest", "--after", "nobody").code == 3


def test_session_show_tells_what_it_was_run_with(done: Done) -> None:
    session = done.sessions[0]
    (row,) = done("session", "show", session, "--json").rows
    assert row["environment"] == "gymnasium:PointMaze_UMaze-v3"
    assert row["versions"]["aetherloop"] == __version__
    assert sum(row["events"].values()) == row["version"]
    assert "PointMaze_UMaze-v3" in done("session", "show", session).out


def test_session_tail_prints_the_last_events(done: Done) -> None:
    session = done.sessions[0]
    rows = done("session", "tail", session, "-n", "3", "--json").rows
    last = ["session.cycle_closed", "learn.session_reviewed", "session.closed"]
    assert [row["type"] for row in rows][-3:] == last
    assert len(done("session", "tail", session, "-n", "3").out.splitlines()) == 3
    followed = done("session", "tail", session, "-n", "2", "--follow", "--json")
    assert [json.loads(line)["event"] for line in followed.out.splitlines()] == [row["event"] for row in rows[-2:]]


def test_resuming_when_everything_is_closed_says_so(done: Done) -> None:
    assert done("session", "resume", "--all", "--json").rows == []
    assert "nothing to resume" in done("session", "resume", "--all").out


def test_log_verify_counts_what_is_intact(done: Done) -> None:
    answer = done("log", "verify", "--json").json
    assert (answer["ok"], answer["rows"], answer["events"]) == (True, [], answer["as_of"])
    assert "intact" in done("log", "verify").out


def test_a_seal_made_now_verifies_later(done: Done, tmp_path: Path) -> None:
    seal = tmp_path / "seal.json"
    (row,) = done("log", "seal", "--out", str(seal), "--json").rows
    assert row["streams"] == 2
    assert row["root"] in seal.read_text()
    assert done("log", "verify", "--seal", str(seal)).code == 0
    assert json.loads(done("log", "seal").out) == json.loads(seal.read_text())


def test_log_export_writes_a_line_an_event(done: Done, tmp_path: Path) -> None:
    session = done.sessions[0]
    lines = done("log", "export", session, "--to", "5").out.splitlines()
    assert [json.loads(line)["version"] for line in lines] == [1, 2, 3, 4, 5]
    out = tmp_path / "all.jsonl"
    (row,) = done("log", "export", "--out", str(out), "--json").rows
    assert row["events"] == len(out.read_text().splitlines()) == done.ran.json["as_of"]


def test_log_schema_is_a_json_schema_of_every_event(done: Done) -> None:
    schema = done("log", "schema", "--json").json
    assert "reason.predicted" in json.dumps(schema)
    assert done("log", "schema").out == done("log", "schema", "--json").out


def test_replay_agrees_and_stops_where_it_is_told(done: Done) -> None:
    row = done.ran.rows[0]
    (whole,) = done("replay", row["session"], "--json").rows
    assert (whole["agrees"], whole["state_hash"], whole["version"]) == (True, row["state_hash"], row["version"])
    (part,) = done("replay", row["session"], "--to", "30", "--json").rows
    assert part["version"] == 30
    assert row["state_hash"] in done("replay", row["session"]).out


def test_doctor_says_where_each_setting_came_from(done: Done) -> None:
    report = done("doctor", "--json").json
    assert report["settings"]["home"]["from"] == "environment"
    assert report["settings"]["max_sessions"] == {"value": "2000", "from": "default"}
    assert report["log"]["writer"] == "nobody"
    assert report["libraries"]["ray"] != "missing"
    assert "max_sessions" in done("doctor").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "{wrong}"), 2, "wrong.toml:6: unknown key 'environment.frame'; did you mean 'frames'?"),
        (("run", "{unknown}"), 3, "PointMaze_UMaze-v3"),
        (("run", "nowhere.toml"), 2, "nowhere.toml cannot be read"),
        (("session", "show", "000000000000"), 3, "there is no session '000000000000'"),
        (("session", "tail", "000000000000"), 3, "there is no session"),
        (("session", "resume", "000000000000"), 3, "there is no session"),
        (("replay", "000000000000"), 3, "there is no session"),
        (("replay", "{session}", "--to", "999999"), 2, "999999 is not among them"),
        (("log", "export", "000000000000"), 3, "there is no session"),
        (("log", "export", "--to", "3"), 2, "name the session too"),
        (("log", "verify", "--log", "/nowhere/x.db"), 3, "there is no log at /nowhere/x.db"),
        (("log", "verify", "--seal", "/nowhere/seal"), 3, "there is no seal"),
        (("session", "list", "--log", "/nowhere/x.db"), 3, "there is no log"),
        (("session", "resume"), 2, "--all"),
        (("run", MAZE, "--cycles", "0"), 2, "--cycles"),
        (("run",), 2, "SCENARIO.toml"),
    ],
)
def test_a_mistake_ends_with_its_code_and_says_what_to_do(
    done: Done, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    wrong, unknown = tmp_path / "wrong.toml", tmp_path / "unknown.toml"
    wrong.write_text('# a scenario\nname = "wrong"\n\n[environment]\nid = "gymnasium:PointMaze_UMaze-v3"\nframe = 5\n')
    unknown.write_text('name = "unknown"\n[environment]\nid = "gymnasium:PointMaze_UMaz-v3"\n')
    names = {"{wrong}": str(wrong), "{unknown}": str(unknown), "{session}": done.sessions[0]}
    given = [names.get(argument, argument) for argument in arguments]
    spoken = done(*given)
    assert spoken.code == code, spoken.err
    assert words in spoken.err
    assert spoken.out == ""
    assert "Traceback" not in spoken.err
    written = done(*given, "--json")
    error = written.json["error"]
    assert (written.code, error["exit_code"]) == (code, code)
    assert words in error["message"]


def test_an_altered_log_is_exit_4_and_names_the_event(done: Done, tmp_path: Path) -> None:
    copy = tmp_path / "altered.db"
    session = done.sessions[0]
    with closing(open_log(done.aether.log, mode="read")) as log:
        payload = next(iter(log.read(f"session/{session}", after=9, to=10))).payload
    copy.write_bytes(done.aether.log.read_bytes())
    with closing(sqlite3.connect(copy)) as connection:
        changed = payload[:-2] + bytes([payload[-2] ^ 1]) + payload[-1:]
        connection.execute(
            "UPDATE events SET payload = ? WHERE stream = ? AND version = 10", (changed, f"session/{session}")
        )
        connection.commit()
    spoken = done("log", "verify", "--log", str(copy))
    assert spoken.code == 4
    assert session in spoken.out
    assert "10" in spoken.out
    answer = done("log", "verify", "--log", str(copy), "--json").json
    assert answer["ok"] is False
    assert [row["version"] for row in answer["rows"]] == [10]


def test_an_unknown_setting_is_exit_2_with_the_nearest_name(done: Done) -> None:
    ran = done.aether("doctor", env={"AETHER_MAX_SESSION": "3"})
    assert ran.code == 2
    assert "did you mean 'max_sessions'?" in ran.err


def test_no_arguments_show_the_help(aether: Aether) -> None:
    for arguments in ((), ("session",), ("log",)):
        ran = aether(*arguments)
        assert "Usage: aether" in ran.out + ran.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_and_an_entry_in_the_docs(
    aether: Aether, command: tuple[str, ...]
) -> None:
    name = f"aether {' '.join(command)}"
    ran = aether(*command, "--help")
    assert ran.code == 0
    assert f"Example: {name}" in ran.out
    assert f"\n## {name}\n" in (ROOT / "docs" / "cli.md").read_text()


def test_the_page_on_the_command_line_is_what_the_commands_say() -> None:
    command = (sys.executable, "docs/render_cli.py", "--check")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    checked = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("session", "list"), ("log",), ("run", "x")])
def test_the_module_and_the_script_are_the_same_program(done: Done, arguments: tuple[str, ...]) -> None:
    script = Path(sys.executable).with_name("aether")
    if not script.exists():
        pytest.skip("aetherloop is not installed in this environment")
    ran = subprocess.run(
        (script, *arguments),
        env=done.aether.env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    module = done(*arguments)
    assert (ran.returncode, ran.stdout, ran.stderr) == (module.code, module.out, module.err)


@pytest.mark.parametrize(
    "code",
    [
        "import aetherloop",
        "import sys; sys.argv = ['aether', '--help']; from runtime.cli import main; main()",
        "import sys; sys.argv = ['aether', 'run', '--help']; from runtime.cli import main; main()",
    ],
)
def test_importing_and_asking_for_help_load_no_heavy_library(code: str) -> None:
    heavy = [
        "ray",
        "torch",
        "gymnasium",
        "qdrant_edge",
        "sqlmodel",
        "rich",
        "psycopg",
        "pyarrow",
        "duckdb",
        "opentelemetry",
    ]
    if code.endswith("['aether', '--help']; from runtime.cli import main; main()"):
        heavy += ["numpy", "pydantic"]  # the log's types are pydantic's, and typer checks options with it
    said = f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    command = (sys.executable, "-c", f"import atexit, sys\natexit.register(lambda: {said})\n{code}")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.strip() == "[]"
