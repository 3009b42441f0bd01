"""Every command on a log in PostgreSQL, as on one in a file; and a password that is shown to nobody."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.events import Draft, session
from telemetry.log import open_log
from tests.aether import Aether, Ran, wait_until
from tests.clusters import Head
from tests.local import Local
from tests.model_server import ModelServer, says
from tests.postgres import PASSWORD, Server
from tests.system.test_chat import Counter, pays
from tests.unit.test_approvals import ASKS, asked_in

MAZE = "examples/maze.toml"
SESSIONS, CYCLES = 3, 6


class Shared:
    """The command line on a log of the server, which the environment names."""

    def __init__(self, head: Head, url: str) -> None:
        self.url = url
        self.aether = Aether()
        self.aether.attach(head)
        self.aether.env["AETHER_LOG"] = url

    def __call__(self, *arguments: str, code: int = 0) -> Ran:
        ran = self.aether(*arguments)
        assert ran.code == code, ran.err
        assert PASSWORD not in ran.out + ran.err
        return ran


@pytest.fixture(scope="module")
def shared(head: Head, server: Server) -> Iterator[Shared]:
    made = Shared(head, server.database())
    yield made
    made.aether.remove()


@pytest.fixture(scope="module")
def sessions(shared: Shared) -> list[str]:
    """What one small run has written."""
    answer = shared("run", MAZE, "--sessions", f"{SESSIONS}", "--cycles", f"{CYCLES}", "--json").json
    assert [row["status"] for row in answer["rows"]] == ["closed"] * SESSIONS
    assert answer["summary"]["cycles"] == SESSIONS * CYCLES
    assert answer["summary"]["log_bytes"] > 0
    assert answer["summary"]["log"].startswith("postgresql://aether:***@127.0.0.1:")
    return [row["session"] for row in answer["rows"]]


def test_sessions_are_listed_shown_followed_and_replayed(shared: Shared, sessions: list[str]) -> None:
    assert {row["session"] for row in shared("session", "list", "--json").rows} >= set(sessions)
    (row,) = shared("session", "show", sessions[0], "--json").rows
    assert (row["status"], row["events"]["session.closed"]) == ("closed", 1)
    last = shared("session", "tail", sessions[0], "-n", "1").out
    assert "session.closed" in last
    replayed = shared("replay", sessions[0])
    assert "agree" in replayed.out


def test_the_log_is_followed_and_the_place_kept_at_home(shared: Shared, sessions: list[str]) -> None:
    with closing(open_log(shared.url, mode="read")) as log:
        place = shared.aether.home / "cursors" / log.id / "me.json"
        last = log.position()
    arguments = ("log", "follow", "--from", "0", "--session", sessions[0], "--as", "me", "--json")
    with shared.aether.start(*arguments) as following:
        wait_until(
            lambda: place.exists() and json.loads(place.read_text())["position"] >= last,
            what="the place to be moved",
        )
        following.signal(signal.SIGINT)
        followed = following.end()
    (row,) = shared("session", "show", sessions[0], "--json").rows
    assert len(followed.out.splitlines()) == row["version"]


def test_the_log_is_verified_sealed_exported_and_carried_elsewhere(
    shared: Shared, sessions: list[str], tmp_path: Path
) -> None:
    assert "intact" in shared("log", "verify").out
    seal, lines, other = tmp_path / "seal.json", tmp_path / "log.jsonl", tmp_path / "other.db"
    seal.write_text(shared("log", "seal").out)
    assert "intact" in shared("log", "verify", "--seal", str(seal)).out
    lines.write_text(shared("log", "export", sessions[0]).out)
    shared("log", "import", str(lines), "--log", str(other))
    with closing(open_log(other, mode="read")) as copy, closing(open_log(shared.url, mode="read")) as log:
        stream = f"session/{sessions[0]}"
        assert copy.head(stream) is not None
        assert [event.hash for event in copy.read(stream)] == [event.hash for event in log.read(stream)]


def test_a_session_is_forked_and_gone_on_with(shared: Shared, sessions: list[str]) -> None:
    with closing(open_log(shared.url, mode="read")) as log:
        cut = next(log.read(f"session/{sessions[0]}", types=("session.cycle_closed",)))
    (row,) = shared("session", "fork", sessions[0], "--at", f"{cut.version}", "--json").rows
    resumed = shared("session", "resume", row["session"], "--json")
    assert [row["status"] for row in resumed.rows] == ["closed"]
    (rerun,) = shared("session", "show", row["session"], "--json").rows
    assert rerun["version"] > cut.version
    assert "intact" in shared("log", "verify").out


@pytest.mark.parametrize(("word", "granted"), [("approve", True), ("deny", False)])
def test_a_session_that_waits_for_leave_is_answered_where_it_rests(shared: Shared, word: str, granted: bool) -> None:
    name = f"asks-{word}"
    with closing(open_log(shared.url)) as log, closing(Local(log)) as local:
        assert local.run(name, ASKS, cycles=1).status == "waiting"
    asked = asked_in(shared.url, name)
    (row,) = shared("session", "list", "--status", "waiting", "--json").rows
    assert row["session"] == name
    answered = shared("session", word, name, asked.effect[:12], "--why", "because")
    assert f"aether session resume {name}" in answered.err
    (resumed,) = shared("session", "resume", name, "--json").rows
    assert resumed["status"] == "closed"
    (shown,) = shared("session", "show", name, "--json").rows
    assert ("execute.intended" in shown["events"]) == granted


def test_a_session_that_does_not_rest_is_not_written_to_by_others(shared: Shared) -> None:
    with closing(open_log(shared.url)) as log, closing(Local(log)) as local:
        assert local.run("taken", ASKS, cycles=1).status == "waiting"
        asked = asked_in(shared.url, "taken")
        resumed = session.Resumed(after="suspended", owner="elsewhere:0:1/7", verified_to=1)
        before = local.append("taken", Draft(event=resumed, command="resume.2"))
    refused = shared("session", "approve", "taken", asked.effect[:12], code=6)
    assert "elsewhere:0:1/7 has it" in refused.err
    assert "aether session resume taken" in refused.err
    with closing(open_log(shared.url, mode="read")) as log:
        head = log.head("session/taken")
        assert head is not None
        assert head.version == before.version


def test_a_conversation_is_held_and_its_question_answered_from_another_process(aether: Aether, server: Server) -> None:
    aether.env["AETHER_LOG"] = server.database()
    with ModelServer() as model:
        counter = Counter(aether, model)
        model.will(pays(500), says("Paid 500."))
        with counter.typed() as typed:
            typed.see("› ")
            typed.type("pay bob 500")
            typed.see("asks for leave")
            (row,) = counter("session", "list", "--json").rows
            asked = asked_in(aether.env["AETHER_LOG"], row["session"])
            answered = counter("session", "approve", row["session"], asked.effect[:12])
            assert answered.code == 0, answered.err
            assert "resume" not in answered.err, "its host goes on at once"
            typed.type("y")  # the terminal waits for a line, and then hears that it was answered
            typed.see("Paid 500.")
            typed.see("› ")
            typed.type("/quit")
            ended = typed.end()
        assert ended.code == 0
        assert PASSWORD not in ended.out
        (row,) = counter("session", "list", "--json").rows
        assert row["status"] == "suspended"


def test_doctor_says_where_the_log_is_and_who_writes_it(shared: Shared, sessions: list[str]) -> None:
    with closing(open_log(shared.url)):
        report = shared("doctor", "--json").json
    assert report["log"]["state"] == "readable"
    assert report["log"]["writer"] != "nobody"
    assert report["settings"]["log"]["value"].startswith("postgresql://aether:***@")
    assert "***" in shared("doctor").out


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (("/logs", "/nowhere"), 3, "createdb"),
        ((PASSWORD, "wrong"), 1, "PGPASSWORD"),
        (("127.0.0.1:", "127.0.0.1:1"), 6, "does not answer"),
        (("postgresql://", "postgresql+asyncpg://"), 1, "driver"),
    ],
)
def test_a_log_that_cannot_be_opened_says_why(shared: Shared, change: tuple[str, str], code: int, words: str) -> None:
    url = shared.url.replace(*change)
    for arguments in (("session", "list"), ("log", "verify"), ("run", MAZE, "--cycles", "1")):
        if code == 3 and arguments[0] == "run":
            continue
        assert words in shared(*arguments, "--log", url, code=code).err
