"""`aether log follow` as a user runs it: beside a writer, killed, interrupted, and with nobody left to read it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from telemetry.log import EventLog, open_log
from tests.aether import AETHER, ROOT, RUN_TIMEOUT_S, Aether, end_with_parent, wait_until
from tests.contract.stores import fill
from tests.local import Local
from tests.postgres import PASSWORD, Server, drop

KILLS = 6
EVENTS_A_KILL = 600
NULL = """
name = "null"
environment = { id = "null:" }
memory = { recall = 0 }
"""


@pytest.fixture
def log(aether: Aether) -> Iterator[EventLog]:
    """The log that the command finds, written by the test."""
    with closing(open_log(aether.log)) as store:
        yield store


def start(aether: Aether, *arguments: str, out: IO[bytes] | int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        (*AETHER, "log", "follow", *arguments),
        env={**aether.env, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.PIPE,
        preexec_fn=end_with_parent,
    )


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    _, err = process.communicate(timeout=RUN_TIMEOUT_S)
    return process.returncode, err.decode()


def positions(path: Path) -> list[int]:
    """Of the lines that are whole."""
    whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line)["position"] for line in whole]


def test_a_named_follower_killed_again_and_again_skips_no_event(aether: Aether, log: EventLog, tmp_path: Path) -> None:
    chance = random.Random(5)
    seen: list[int] = []
    total = 0
    for number in range(KILLS):
        out = tmp_path / f"{number}.jsonl"
        with out.open("wb") as file:
            follower = start(aether, "--from", "0", "--as", "test", "--json", out=file)
            fill(log, f"s{number}", EVENTS_A_KILL // 20, each=20)
            goal = total + chance.randrange(1, EVENTS_A_KILL)
            wait_until(lambda: max(positions(out), default=0) >= goal, what=f"line {goal}")  # noqa: B023
            end(follower, signal.SIGKILL)
        total += EVENTS_A_KILL
        here = positions(out)
        assert here == list(range(here[0], here[-1] + 1)), "in order and without a gap"
        assert here[0] <= max(seen, default=0) + 1, "it went on where it was killed, or before"
        seen += here
    with (tmp_path / "last.jsonl").open("wb") as file:
        follower = start(aether, "--as", "test", "--json", out=file)
        fill(log, "last", 1)
        total += 1
        kept = Path(f"{log.url}.cursors/test.json")
        wait_until(lambda: json.loads(kept.read_text(encoding="utf-8"))["position"] == total, what="its last place")
        code, err = end(follower, signal.SIGINT)
    assert (code, err) == (130, "aether: interrupted\n")
    seen += positions(tmp_path / "last.jsonl")
    assert sorted(set(seen)) == list(range(1, total + 1))
    assert json.loads(kept.read_text(encoding="utf-8")) == {"log": log.id, "position": total}


def test_without_a_name_it_begins_now_and_prints_what_is_committed_next(aether: Aether, log: EventLog) -> None:
    fill(log, "before", 3)
    follower = start(aether, "--as", "now")
    cursor = Path(f"{log.url}.cursors/now.json")
    wait_until(cursor.exists, what="it follows")
    fill(log, "after", 2)
    assert follower.stdout is not None
    lines = [follower.stdout.readline().decode().split() for _ in range(2)]
    assert [words[:5] for words in lines] == [
        [str(position), "after", str(version), "0", "learn.corrected"] for version, position in ((1, 4), (2, 5))
    ]
    assert end(follower, signal.SIGINT)[0] == 130
    assert not Path(f"{log.url}.cursors/other.json").exists()


def test_it_prints_only_what_was_asked_for_and_the_place_moves_over_the_rest(aether: Aether, log: EventLog) -> None:
    local = Local(log)
    for name in ("a", "b"):
        local.run(name, NULL, cycles=2)
    local.close()
    arguments = ("--from", "0", "--type", "session.opened", "--type", "session.closed", "--session", "b", "--as", "x")
    follower = start(aether, *arguments)
    cursor = Path(f"{log.url}.cursors/x.json")
    last = log.position()
    wait_until(lambda: cursor.exists() and json.loads(cursor.read_text())["position"] == last, what="end")
    follower.send_signal(signal.SIGINT)
    out, _ = follower.communicate(timeout=RUN_TIMEOUT_S)
    assert [line.split()[1:5:3] for line in out.decode().splitlines()] == [
        ["session/b", "session.opened"],
        ["session/b", "session.closed"],
    ]


def test_it_ends_when_nobody_reads_it_any_more_even_while_nothing_happens(aether: Aether, log: EventLog) -> None:
    fill(log, "a", 3)
    follower = start(aether, "--from", "0")
    assert follower.stdout is not None
    assert follower.stdout.readline()
    follower.stdout.close()
    assert follower.stderr is not None
    assert follower.wait(timeout=RUN_TIMEOUT_S) == 1
    assert follower.stderr.read() == b""
    follower.stderr.close()


def test_a_log_on_a_server_is_followed_and_listed_alike(aether: Aether, server: Server) -> None:
    url = server.schema()
    with closing(open_log(url)) as log:
        local = Local(log)
        local.run("a", NULL, cycles=2)
        local.close()
        follower = start(aether, "--log", url, "--from", "0", "--type", "session.closed", "--as", "x")
        cursor = aether.home / "cursors" / log.id / "x.json"
        wait_until(cursor.exists, what="it follows")
        follower.send_signal(signal.SIGINT)
        out, err = follower.communicate(timeout=RUN_TIMEOUT_S)
        assert out.decode().split()[1:5:3] == ["session/a", "session.closed"]
        assert json.loads(cursor.read_text(encoding="utf-8")) == {"log": log.id, "position": log.position()}
        listed = aether("session", "list", "--log", url, "--status", "closed", "--json")
    assert [row["session"] for row in listed.rows] == ["a"]
    assert PASSWORD not in f"{err!r}{out!r}{listed.out}{listed.err}"
    drop(url)


def test_two_followers_of_one_name_are_one_too_many(aether: Aether, log: EventLog) -> None:
    follower = start(aether, "--as", "x")
    wait_until(Path(f"{log.url}.cursors/x.json").exists, what="it follows")
    ran = aether("log", "follow", "--as", "x")
    assert ran.code == 6
    assert "another process follows as x" in ran.err
    end(follower, signal.SIGINT)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--type", "session.close"), 2, "did you mean 'session.closed'?"),
        (("--session", "x"), 3, "there is no session 'x'"),
        (("--as", "../x"), 2, "no name of a cursor"),
        (("--as", ".hidden"), 2, "no name of a cursor"),
    ],
)
def test_what_cannot_be_followed_is_refused(
    aether: Aether, log: EventLog, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = aether("log", "follow", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
