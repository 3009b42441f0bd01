"""A person's answer to what a session asks: by its live host, or onto its log where none lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runtime.errors import NotFound, UsageError
from runtime.people import letters
from runtime.people.approvals import answer, append_answer, open_question
from telemetry.errors import LogHeld
from telemetry.events import execute
from telemetry.log import EventLog, open_log
from tests.desks import SESSION, PlayedDesk, served
from tests.local import Local

ASKS = """
name = "asks"
environment = { id = "null:" }
memory = { recall = 0 }
[reasoner]
hold = 1
[heart]
on_ask = "wait"
[[heart.rules]]
id = "careful"
verdict = "ask"
reason = "that one is precious"
actions = [0, 1]
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets lie in a folder of the test's own."""
    monkeypatch.setattr(letters, "ROOT", tmp_path_factory.mktemp("m"))


@pytest.fixture
def waiting(tmp_path: Path) -> str:
    """A log that nobody writes, with the session `s` that waits for leave."""
    with closing(open_log(tmp_path / "waiting.db")) as log:
        local = Local(log)
        assert local.run("s", ASKS, cycles=1).status == "waiting"
        local.close()
        return log.url


def asked_in(url: str, session: str = "s") -> execute.ApprovalAsked:
    with closing(open_log(url, mode="read")) as log:
        asked = open_question(log, session)
    assert asked is not None
    return asked


@pytest.mark.parametrize("granted", [True, False])
def test_with_no_live_host_the_answer_is_appended_and_the_session_goes_on_by_it(waiting: str, granted: bool) -> None:
    asked = asked_in(waiting)
    event = answer(waiting, "s", asked.effect[:6], granted=granted, by="ann", why="because")
    with closing(open_log(waiting)) as log:
        given = list(log.read("session/s"))[-1]
        assert event == given.id
        assert given.event == execute.ApprovalGiven(
            effect=asked.effect, arguments=asked.arguments, granted=granted, by="ann", why="because"
        )
        assert log.verify().ok
        assert (given.cycle, given.cause) == (1, f"session/s@{given.version - 2}"), "the question, before the rest"
        assert open_question(log, "s") is None
        local = Local(log)
        assert local.run("s", ASKS, cycles=1).status == "closed"
        assert len(local.events("s", "execute.intended")) == granted
        assert len(local.events("s", "execute.cancelled")) == (not granted)
        local.close()


def test_with_a_live_host_the_host_is_asked_and_the_log_left_alone(tmp_path: Path) -> None:
    desk = PlayedDesk()
    with served(desk, tmp_path / "log.db"):
        given = answer(str(tmp_path / "log.db"), SESSION, "abcdef01", granted=True, by="ann", why="fine")
    assert given == f"session/{SESSION}@99"
    assert desk.decisions == [("abcdef01", True, "ann", "fine")]
    assert not (tmp_path / "log.db").exists()


def test_a_writer_that_is_no_host_is_named(waiting: str) -> None:
    effect = asked_in(waiting).effect
    with closing(open_log(waiting)), pytest.raises(LogHeld, match=r"held by pid \d+"):
        answer(waiting, "s", effect, granted=True, by="ann")


def test_an_answer_must_name_what_is_asked(waiting: str) -> None:
    effect = asked_in(waiting).effect
    with pytest.raises(UsageError, match="at least 6"):
        answer(waiting, "s", effect[:5], granted=True, by="ann")
    wrong = "0" * 6 if not effect.startswith("0" * 6) else "1" * 6
    with pytest.raises(NotFound, match=f"what is asked is {effect[:12]}"):
        answer(waiting, "s", wrong, granted=True, by="ann")
    with pytest.raises(NotFound, match="no session 'nobody'"):
        answer(waiting, "nobody", effect, granted=True, by="ann")
    assert asked_in(waiting).effect == effect, "nothing was written"


def test_a_question_is_answered_once(waiting: str) -> None:
    effect = asked_in(waiting).effect
    answer(waiting, "s", effect, granted=False, by="ann")
    with pytest.raises(UsageError, match="refused by ann already"):
        answer(waiting, "s", effect, granted=True, by="mallory")


def test_an_answer_that_comes_after_its_time_is_not_recorded(log: EventLog, local: Local) -> None:
    text = ASKS.replace('on_ask = "wait"', 'on_ask = "wait"\napproval_timeout_s = 3600')
    local.run("s", text, cycles=1, stop=_after_the_question(log))
    asked = open_question(log, "s")
    assert asked is not None
    assert asked.until is not None
    assert asked.until > time.time_ns()
    with pytest.raises(UsageError, match="came too late"):
        append_answer(log, "s", asked.effect, granted=True, by="ann", why="", now_ns=asked.until + 1)
    assert append_answer(log, "s", asked.effect, granted=True, by="ann", why="", now_ns=asked.until)


def _after_the_question(log: EventLog) -> Callable[[], bool]:
    return lambda: any(log.read("session/s", types=("execute.approval_asked",)))


def test_a_session_that_never_asked_asks_nothing(log: EventLog, local: Local) -> None:
    local.run("s", ASKS.replace("[0, 1]", "[7]"), cycles=1)
    assert open_question(log, "s") is None
    with pytest.raises(NotFound, match="asks nothing now"):
        append_answer(log, "s", "abcdef", granted=True, by="ann", why="")
