"""Conversations on a real Ray: a phase actor killed in the middle of a call, and a person who answers from outside."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.errors import LogError
from telemetry.events import Event, Unknown, execute
from telemetry.log import open_log
from tests.aether import Aether, wait_until
from tests.errands import SCENARIO, policy
from tests.model_server import ModelServer

HANDS = """
[placement]
reason = "hands"  # its tools take a secret, so both are in one process
execute = "hands"
[pools.hands]
cpus = 0.5
"""
LEAVE = """
[heart]
approval_timeout_s = 1000
[[heart.rules]]
id = "leave"
verdict = "ask"
tools = ["pay"]
reason = "payments need leave"
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.always = policy
        yield running


def events(log: Path, *types: str) -> list[Event | Unknown]:
    try:
        with closing(open_log(log, mode="read")) as store:
            return [recorded.event for recorded in store.read_all(types=types)]
    except LogError:  # it is not made yet
        return []


@pytest.mark.parametrize(("errand", "outcome"), [("pay", "execute.succeeded"), ("post", "execute.unknown")])
def test_a_phase_actor_killed_in_the_middle_of_a_call_is_settled_by_the_class_of_the_call(
    aether: Aether, server: ModelServer, errand: str, outcome: str
) -> None:
    till = aether.folder / "till"
    hold, pid = Path(f"{till}.hold"), Path(f"{till}.pid")
    hold.touch()
    scenario = aether.folder / "errands.toml"
    scenario.write_text(SCENARIO.format(url=server.url, errand=errand) + HANDS, encoding="utf-8")
    with aether.start("run", str(scenario), "--json", env={"TILL": str(till)}) as run:
        wait_until(lambda: pid.exists() and pid.read_text() != "", what="the tool is at work")
        os.kill(int(pid.read_text()), signal.SIGKILL)
        hold.unlink()
        ran = run.end()
    assert ran.code == 0, ran.err
    assert [row["outcome"] for row in ran.rows] == ["done"]
    lines = till.read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines] == [errand]
    of_calls = [
        event
        for event in events(aether.log, "execute.succeeded", "execute.unknown", "execute.failed")
        if not isinstance(event, execute.Succeeded) or event.result is not None
    ]
    assert [event.type for event in of_calls] == [outcome]


def test_a_person_answers_a_live_session_from_another_process_and_it_goes_on(
    aether: Aether, server: ModelServer
) -> None:
    till = aether.folder / "till"
    scenario = aether.folder / "errands.toml"
    scenario.write_text(SCENARIO.format(url=server.url, errand="pay") + LEAVE, encoding="utf-8")
    with aether.start("run", str(scenario), "--json", env={"TILL": str(till)}) as run:
        wait_until(lambda: bool(events(aether.log, "execute.approval_asked")), what="the session asks")
        (asked,) = events(aether.log, "execute.approval_asked")
        assert isinstance(asked, execute.ApprovalAsked)
        (row,) = aether("session", "list", "--json").rows
        refused = aether("session", "approve", row["session"], "ffffffff")
        assert refused.code == 3, refused.err
        answered = aether("session", "approve", row["session"], asked.effect[:10], "--why", "he is a friend")
        assert answered.code == 0, answered.err
        ran = run.end()
    assert ran.code == 0, ran.err
    assert [row["outcome"] for row in ran.rows] == ["done"]
    (given,) = events(aether.log, "execute.approval_given")
    assert isinstance(given, execute.ApprovalGiven)
    assert (given.granted, given.why) == (True, "he is a friend")
    assert len(till.read_text(encoding="utf-8").splitlines()) == 1
