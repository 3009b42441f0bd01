"""The main job as a Ray job: uploaded from the repository's root, run by this Python, its log outside the upload."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import open_log
from tests.aether import AETHER, ROOT, RUN_TIMEOUT_S, Aether, Row, position, wait_until
from tests.clusters import Head

MAX_UPLOAD_BYTES = 5 * 2**20
SESSIONS = 12
"""More than the scenario's own, so that a model has enough to learn from whichever of them judge it."""


@pytest.fixture(scope="module")
def submitted(head: Head) -> tuple[int, str]:
    """How the main job ended and what it printed."""
    return _submit(head, "run", "examples/maze.toml", "--sessions", str(SESSIONS), "--json")


def test_the_main_job_succeeds_and_answers_json(submitted: tuple[int, str], head: Head) -> None:
    code, output = submitted
    assert code == 0, output
    rows = _answer(output)["rows"]
    assert len(rows) == SESSIONS
    assert {row["status"] for row in rows} == {"closed"}


def test_its_log_lies_in_the_home_of_aether(submitted: tuple[int, str], head: Head) -> None:
    code, output = submitted
    assert code == 0, output
    log = Path(_answer(output)["summary"]["log"])
    assert log == Path(head.env["AETHER_HOME"]) / "aether.db"
    with closing(open_log(log, mode="read")) as store:
        assert store.verify().ok


def test_its_upload_is_below_five_mebibytes_and_holds_no_tests(submitted: tuple[int, str], head: Head) -> None:
    assert submitted[0] == 0
    folders = list((head.folder / "ray").glob("session_2*/runtime_resources/working_dir_files/*/"))
    assert folders, "Ray unpacks uploads there"
    for folder in folders:
        files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        assert sum(path.stat().st_size for path in files) < MAX_UPLOAD_BYTES
        assert (folder / "examples" / "maze.toml").exists()
        assert not (folder / "tests").exists()
        assert not list(folder.rglob("*.db"))


def test_what_it_recorded_is_learnt_from_by_another_job(submitted: tuple[int, str], head: Head) -> None:
    assert submitted[0] == 0
    code, output = _submit(head, "train", "world-model", "maze", "--steps", "20", "--json")
    assert code == 0, output
    (row,) = _answer(output)["rows"]
    assert (row["kind"], row["scenarios"], len(row["sessions"])) == ("jepa", ["maze"], SESSIONS)
    home = Path(head.env["AETHER_HOME"])
    assert Path(row["folder"]).parent == home / "models" / "maze"
    with closing(open_log(home / "aether.db", mode="read")) as store:
        assert [one.id for one in store.read("model/maze", types=("learn.model_trained",))] == [
            _answer(output)["event"]
        ]


def test_a_round_of_learning_is_a_job_too_and_its_picture_outlives_the_upload(head: Head) -> None:
    text = (ROOT / "examples" / "maze.toml").read_text(encoding="utf-8").partition("[learning]")[0]
    text = text.replace('name = "maze"', 'name = "small"')
    file = head.folder / "small.toml"
    file.write_text(f'{text}[learning]\nkind = "linear"\ntransitions = 200\npairs = [4]\n')
    code, output = _submit(head, "learn", str(file), "--json")
    assert code == 0, output
    answer = _answer(output)
    assert (answer["model"], answer["rounds"], len(answer["rows"])) == ("small", 1, 2)
    picture = Path(answer["picture"])
    assert picture == Path(head.env["AETHER_HOME"]) / "small-learning.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_log_inside_the_upload_is_refused(head: Head) -> None:
    code, output = _submit(head, "run", "examples/maze.toml", "--log", "x.db")
    assert code != 0
    assert "exit code 2" in output
    assert "which Ray deletes with the job" in output
    assert "absolute path outside the upload" in output


def test_a_stopped_job_leaves_its_sessions_resting(head: Head) -> None:
    log = head.folder / "stopped.db"
    job = f"stopped-{uuid.uuid4().hex[:8]}"
    command = ("run", "examples/maze.toml", "--sessions", "100", "--log", str(log))
    _ray(head, "submit", "--submission-id", job, "--no-wait", "--working-dir", ".", "--", *AETHER, *command)
    wait_until(lambda: position(log) > 500, what="the sessions run")
    _ray(head, "stop", job)
    with closing(open_log(log, mode="read")) as store:
        last = [next(store.read_back(h.stream)).type for h in store.heads(prefix="session/", limit=1000)]
    assert set(last) <= {"session.suspended", "session.closed"}
    assert "session.suspended" in last


def test_an_attached_run_uses_the_same_cluster(attached: Aether, head: Head) -> None:
    del attached.env["AETHER_ADDRESS"]
    run = attached("run", "examples/maze.toml", "--sessions", "1", "--address", head.address, "--json")
    assert run.code == 0, run.err
    assert [row["status"] for row in run.rows] == ["closed"]
    assert list(attached.folder.glob("aether-*")) == [], "no local Ray was started"


def test_a_cluster_that_is_not_there_is_exit_6(aether: Aether) -> None:
    run = aether("run", "examples/maze.toml", "--address", "127.0.0.1:1")
    assert run.code == 6
    assert "Ray at 127.0.0.1:1 cannot be used" in run.err
    assert "Traceback" not in run.err


def _submit(head: Head, *command: str) -> tuple[int, str]:
    """How the job ended; what Ray said of it, and all that it printed: of that Ray may miss what comes last."""
    job = f"job-{uuid.uuid4().hex[:8]}"
    code, said = _ray(head, "submit", "--submission-id", job, "--working-dir", ".", "--", *AETHER, *command)
    printed = head.folder / "ray" / "session_latest" / "logs" / f"job-driver-{job}.log"
    return code, f"{said}\n{printed.read_text(encoding='utf-8')}"


def _ray(head: Head, action: str, *arguments: str) -> tuple[int, str]:
    """`ray job …` from the repository's root: its exit code and all that it printed."""
    ray = str(Path(sys.executable).with_name("ray"))
    ran = subprocess.run(
        (ray, "job", action, "--address", head.dashboard, *arguments),
        env=head.env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    return ran.returncode, ran.stdout


def _answer(output: str) -> Row:
    """The JSON document that the job printed last."""
    found = json.loads([line for line in output.splitlines() if line.startswith("{")][-1])
    assert isinstance(found, dict)
    return found
