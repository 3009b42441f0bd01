"""`aether log …` on logs that need no session to be run: carrying them elsewhere, and damaged ones."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import open_log
from tests.aether import AETHER, ROOT, RUN_TIMEOUT_S, Aether
from tests.postgres import PASSWORD, Server

MAZE = str(ROOT / "tests" / "golden" / "maze.jsonl")
REFUND = str(ROOT / "tests" / "golden" / "refund.jsonl")
BROKEN = str(ROOT / "tests" / "golden" / "maze-must-fail.jsonl")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def test_an_exported_log_is_imported_and_exported_again_byte_for_byte(aether: Aether, path: Path) -> None:
    ran = aether("log", "import", MAZE, REFUND, "--log", str(path))
    assert (ran.code, ran.out) == (0, "290 events of 2 streams imported\n")
    again = aether("log", "import", REFUND, "--log", str(path))
    assert (again.code, again.out) == (0, "nothing new, 143 stood already\n")
    exported = path.with_name("again.jsonl")
    assert aether("log", "export", "maze", "--out", str(exported), "--log", str(path)).code == 0
    assert exported.read_bytes() == Path(MAZE).read_bytes()
    assert aether("log", "verify", "--log", str(path)).code == 0
    assert aether("replay", "refund", "--log", str(path)).code == 0


def test_an_import_reads_stdin_and_answers_json(aether: Aether, path: Path) -> None:
    command = (*AETHER, "log", "import", "-", "--json", "--log", str(path))
    with Path(MAZE).open("rb") as file:
        ran = subprocess.run(
            command, stdin=file, env=aether.env, cwd=ROOT, capture_output=True, timeout=RUN_TIMEOUT_S, check=True
        )
    answer = json.loads(ran.stdout)
    assert answer["rows"] == [
        {"new": 147, "stood": 0, "streams": 1, "without_content": 0, "withheld": 0, "disclosed": 0}
    ]
    assert answer["as_of"] == 147


def test_a_bad_line_is_exit_4_with_its_number(aether: Aether, path: Path) -> None:
    ran = aether("log", "import", BROKEN, "--log", str(path))
    assert ran.code == 4
    assert "maze-must-fail.jsonl, line 68: event session/maze@68 was altered" in ran.err
    assert "66 events of 1 streams imported" in ran.err
    assert aether("log", "verify", "--log", str(path)).code == 0
    assert (
        aether("log", "import", MAZE, "--log", str(path)).out == "81 events of 1 streams imported, 66 stood already\n"
    )


def test_a_file_that_is_not_there_is_exit_3(aether: Aether, path: Path) -> None:
    ran = aether("log", "import", "nowhere.jsonl", "--log", str(path))
    assert ran.code == 3
    assert "there is no file at nowhere.jsonl" in ran.err


def test_a_seal_says_what_an_import_did_not_bring(aether: Aether, path: Path) -> None:
    aether("log", "import", MAZE, REFUND, "--log", str(path))
    seal = path.with_name("seal.json")
    assert aether("log", "seal", "--out", str(seal), "--log", str(path)).code == 0
    copy = str(path.with_name("copy.db"))
    partly = aether("log", "import", MAZE, "--seal", str(seal), "--log", copy)
    assert partly.code == 4
    assert "session/refund@143" in partly.err
    whole = aether("log", "import", REFUND, "--seal", str(seal), "--json", "--log", copy)
    assert (whole.code, whole.json["missing"]) == (0, [])


def test_an_import_into_a_log_that_is_held_is_exit_6(aether: Aether, path: Path) -> None:
    with closing(open_log(path)):
        ran = aether("log", "import", MAZE, "--log", str(path))
    assert ran.code == 6
    assert "is held by" in ran.err


def test_a_torn_log_is_exported_as_far_as_it_is_whole_and_never_touched(aether: Aether, path: Path) -> None:
    aether("log", "import", MAZE, REFUND, "--log", str(path))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    torn, files = path.read_bytes(), sorted(path.parent.iterdir())
    out = path.with_name("whole.jsonl")
    ran = aether("log", "export", "--out", str(out), "--log", str(path))
    assert ran.code == 4
    assert "session/maze: events 1–" in ran.err
    assert "the file is broken" in ran.err
    assert f"aether log import {out}" in ran.err
    assert path.read_bytes() == torn
    assert sorted(path.parent.iterdir()) == sorted([*files, out])
    copy = str(path.with_name("copy.db"))
    assert aether("log", "import", str(out), "--log", copy).code == 0
    assert aether("log", "verify", "--log", copy).code == 0
    listed = aether("session", "list", "--log", str(path))
    assert listed.code in (0, 4)
    assert "Traceback" not in listed.err


def test_an_export_never_goes_into_the_log_itself(aether: Aether, path: Path) -> None:
    aether("log", "import", MAZE, "--log", str(path))
    before = path.read_bytes()
    assert aether("log", "export", "--out", str(path), "--log", str(path)).code == 2
    assert path.read_bytes() == before


def test_sessions_are_archived_removed_and_brought_back(aether: Aether, path: Path) -> None:
    at = ("--log", str(path))
    folder, seal = path.with_name("archive"), path.with_name("seal.json")
    aether("log", "import", MAZE, REFUND, *at)
    aether("log", "seal", "--out", str(seal), *at)
    listed = aether("session", "list", *at).out
    made = aether("log", "archive", "--closed-before", "2100-01-01", "--folder", str(folder), *at)
    assert made.code == 0
    assert [line.partition(":")[0] for line in made.out.splitlines()] == ["maze", "refund"]
    cut = aether("log", "prune", "maze", "--to", "46", "--folder", str(folder), "--json", *at)
    assert [(row["version"], row["left"]) for row in cut.rows] == [(46, 101)]
    gone = aether("log", "prune", "refund", "--folder", str(folder), *at)
    assert gone.out == "refund: removed up to version 143 (system@2)\n"
    assert f"aether log import {folder / 'session%2Frefund.parquet'}" in gone.err
    assert aether("log", "verify", "--seal", str(seal), *at).code == 0
    for command in (("session", "show", "refund"), ("replay", "maze"), ("session", "resume", "maze")):
        ran = aether(*command, *at)
        assert ran.code == 3
        assert "were archived and removed" in ran.err
    for name in ("maze", "refund"):
        back = aether("log", "import", str(folder / f"session%2F{name}.parquet"), *at)
        assert back.code == 0
    assert aether("session", "list", *at).out == listed
    assert aether("replay", "maze", *at).code == 0
    assert aether("log", "verify", "--seal", str(seal), *at).code == 0


def test_a_log_moves_to_postgresql_and_back_and_no_password_is_shown(
    aether: Aether, server: Server, path: Path
) -> None:
    url, folder, out = server.schema(), path.with_name("archive"), path.with_name("all.jsonl")
    ran = [
        aether("log", "import", MAZE, REFUND, "--log", url),
        aether("log", "import", MAZE, "--log", url),
        aether("log", "import", BROKEN, "--log", url),
        aether("log", "archive", "maze", "refund", "--folder", str(folder), "--log", url),
        aether("log", "prune", "refund", "--folder", str(folder), "--log", url),
        aether("log", "verify", "--log", url),
        aether("replay", "refund", "--log", url),
        aether("replay", "nowhere", "--log", url),
        aether("log", "export", "--out", str(out), "--log", url),
        aether("log", "import", str(out), "--log", str(path)),
        aether("log", "verify", "--log", str(path)),
        aether("log", "import", str(folder / "session%2Frefund.parquet"), "--log", url),
        aether("replay", "refund", "--log", url),
    ]
    assert [each.code for each in ran] == [0, 0, 4, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0], [each.err for each in ran]
    assert not [each for each in ran if PASSWORD in each.out + each.err]


def test_what_is_not_said_is_not_removed(aether: Aether, path: Path) -> None:
    at = ("--folder", str(path.with_name("archive")), "--log", str(path))
    aether("log", "import", MAZE, REFUND, "--log", str(path))
    for arguments in ((), ("maze", "--closed-before", "2100-01-01"), ("maze", "refund", "--to", "46")):
        assert aether("log", "prune", *arguments, *at).code == 2
    assert aether("log", "prune", "maze", *at).code == 3
    assert aether("log", "archive", "--closed-before", "2000-01-01", *at).code == 0
