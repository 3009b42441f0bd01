"""`aether chat` as a person uses it: in a terminal and through pipes, with a real host, endpoint and tools."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from telemetry.events import execute, reason
from telemetry.events.values import Say
from telemetry.log import open_log
from tests.aether import AETHER, ROOT, RUN_TIMEOUT_S, Aether, Ran, Started, end_with_parent, wait_until
from tests.model_server import ModelServer, call, calls, fails, says, stalls

SCENARIO = """
name = "counter"
[environment]
id = "tools:"
[environment.tools]
modules = ["tests.till"]
[reasoner]
kind = "language"
[reasoner.language.endpoints.main]
model = "test-model"
retries = 0
[world_model]
kind = "none"
[memory]
recall = 0
[heart]
on_ask = "wait"
[[heart.rules]]
id = "big"
verdict = "ask"
tools = ["pay"]
reason = "large payments need leave"
where = { amount = { above = 100 } }
"""


class Typed(Started):
    """The command in a terminal that somebody types on."""

    def __init__(self, aether: Aether, *arguments: str, env: dict[str, str]) -> None:
        super().__init__((*AETHER, *arguments), {**aether.env, **env}, cwd=ROOT, terminal=True)
        self._seen = 0

    def see(self, text: str) -> None:
        """Waits until the terminal shows `text`, after what was seen before."""
        try:
            wait_until(lambda: text in self.shown()[self._seen :], what=repr(text))
        except TimeoutError as error:
            raise AssertionError(f"{error}; it shows: {self.shown()[self._seen :]}") from error
        self._seen += self.shown()[self._seen :].index(text) + len(text)

    def type(self, line: str) -> None:
        assert self._screen is not None
        os.write(self._screen, f"{line}\n".encode())


class Counter:
    """The scenario, its model and its ledger."""

    def __init__(self, aether: Aether, server: ModelServer) -> None:
        self.aether = aether
        self.server = server
        self.file = aether.folder / "counter.toml"
        self.file.write_text(SCENARIO, encoding="utf-8")
        self.till = aether.folder / "till"
        self.env = {
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "none",
            "AETHER_MODEL": "test-model",
            "TILL": str(self.till),
        }

    def typed(self, *arguments: str) -> Typed:
        return Typed(self.aether, "chat", *(arguments or (str(self.file), "--person", "ada")), env=self.env)

    def piped(self, text: bytes, *arguments: str) -> Ran:
        ran = subprocess.run(
            (*AETHER, "chat", *arguments),
            env={**self.aether.env, **self.env},
            cwd=ROOT,
            input=text,
            capture_output=True,
            timeout=RUN_TIMEOUT_S,
            preexec_fn=end_with_parent,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def __call__(self, *arguments: str) -> Ran:
        return self.aether(*arguments, env=self.env)

    @property
    def session(self) -> str:
        return str(self("session", "list", "--json").rows[-1]["session"])

    def asked(self) -> list[tuple[str, str]]:
        """Who said what in the model's latest prompt."""
        return [(turn["role"], turn["content"]) for turn in self.server.sent[-1].body["messages"]]

    def events(self, *types: str) -> list[Any]:
        with closing(open_log(self.aether.log, mode="read")) as log:
            return [recorded.event for recorded in log.read_all(types=types)]


@pytest.fixture
def counter(aether: Aether) -> Iterator[Counter]:
    with ModelServer() as server:
        yield Counter(aether, server)


def pays(amount: int) -> Any:  # noqa: ANN401  a script of the server
    return calls(call("pay", json.dumps({"to": "bob", "amount": amount})))


def test_piped_lines_are_messages_and_only_the_agents_words_are_on_stdout(counter: Counter) -> None:
    counter.server.will(says("Good day."), says("Fine, thanks."))
    ran = counter.piped("hello\nhow are you? \xe9\n".encode("latin-1"))
    assert ran.code == 0, ran.err
    assert ran.out == "Good day.\nFine, thanks.\n"
    (row,) = counter("session", "list", "--json").rows
    assert (row["status"], row["scenario"]) == ("suspended", "chat")
    assert f"aether chat --session {row['session']}" in ran.err
    assert counter.asked()[-3:] == [("user", "hello"), ("assistant", "Good day."), ("user", "how are you? \ufffd")]
    assert counter("replay", row["session"]).code == 0


def test_a_conversation_with_tools_a_question_a_judgement_and_its_reasons(counter: Counter) -> None:
    counter.server.will(pays(20), says("Paid 20."), pays(500), says("Paid 500."))
    with counter.typed() as typed:
        typed.see("› ")
        typed.type("pay bob 20")
        typed.see("pay(")
        typed.see("Paid 20.")
        typed.see("› ")
        typed.type("pay bob 500")
        typed.see('asks for leave: pay(amount=500, to="bob")')
        typed.see("large payments need leave")
        typed.type("maybe")
        typed.see("Answer y or n")
        assert len(counter.till.read_text().splitlines()) == 1, "nothing is paid before leave is given"
        typed.type("y he is known")
        typed.see("Paid 500.")
        typed.see("› ")
        assert typed.shown().count("Paid 500.") == 1, "what was streamed is not said again"
        typed.type("/why")
        typed.see("chose")
        typed.see("say 'Paid 500.'")
        typed.type("/bad too slow")
        typed.see("Noted.")
        typed.see("› ")
        typed.type("/quit")
        ended = typed.end()
    assert ended.code == 0
    assert "Traceback" not in ended.out
    (given,) = counter.events("execute.approval_given")
    assert isinstance(given, execute.ApprovalGiven)
    assert (given.granted, given.why) == (True, "he is known")
    judged = [e.feedback for e in counter.events("learn.feedback_received") if not e.implicit]
    assert [(feedback.rating, feedback.text) for feedback in judged] == [(-1.0, "too slow")]
    with closing(open_log(counter.aether.log, mode="read")) as log:
        stream, _, version = judged[0].about.rpartition("@")
        about = next(log.read(stream, after=int(version) - 1)).event
    assert isinstance(about, reason.Decided)
    assert about.action == Say(text="Paid 500.")
    history = counter.aether.home / "chat.history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "pay bob 500" in history.read_text()
    assert "he is known" not in history.read_text()


def test_undo_goes_on_in_a_fork_from_before_the_last_message_and_names_what_stays(counter: Counter) -> None:
    counter.server.will(says("Good day."), pays(20), says("Paid 20."), says("As you wish."))
    with counter.typed() as typed:
        typed.see("› ")
        typed.type("hello")
        typed.see("Good day.")
        typed.see("› ")
        typed.type("pay bob 20")
        typed.see("Paid 20.")
        typed.see("› ")
        typed.type("/undo")
        typed.see("goes on from before: pay bob 20")
        typed.see('Not undone: pay(amount=20, to="bob")')
        typed.see("› ")
        typed.type("pay nobody")
        typed.see("As you wish.")
        typed.see("› ")
        typed.type("/undo")
        typed.see("goes on from before: pay nobody")
        typed.see("› ")
        typed.type("/quit")
        ended = typed.end()
    assert ended.code == 0
    told = [turn for turn in counter.asked() if turn[0] != "system"]
    assert told[-3:] == [("user", "hello"), ("assistant", "Good day."), ("user", "pay nobody")]
    rows = counter("session", "list", "--json").rows
    assert [row["status"] for row in rows] == ["suspended"] * 3
    assert counter("log", "verify").code == 0
    for row in rows:
        assert counter("replay", row["session"]).code == 0
    (forked,) = counter("session", "fork", rows[0]["session"], "--at", "1", "--json").rows
    assert (forked["parent"], forked["at"]) == (rows[0]["session"], 1)
    assert counter("session", "fork", rows[0]["session"], "--at", "3").code == 2


@pytest.mark.slow
def test_when_nobody_answers_the_problem_is_shown_and_an_empty_line_asks_again(counter: Counter) -> None:
    counter.server.will(fails(500, "the model is broken"), says("Here I am."))
    with counter.typed() as typed:
        typed.see("› ")
        typed.type("hello")
        typed.see("No answer: ")
        typed.see("An empty line asks again")
        typed.see("› ")
        typed.type("")
        typed.see("Here I am.")
        typed.see("› ")
        typed.type("/quit")
        assert typed.end().code == 0
    counter.server.always = fails(500, "the model is broken")
    ran = counter.piped(b"hello\n")
    assert (ran.code, ran.out) == (6, "")
    assert "the model is broken" in ran.err


@pytest.mark.slow
def test_ctrl_c_at_the_prompt_lets_the_session_rest_and_it_goes_on_later(counter: Counter) -> None:
    counter.server.will(says("Good day."), says("Again."))
    with counter.typed() as typed:
        typed.see("› ")
        typed.type("hello")
        typed.see("Good day.")
        typed.see("› ")
        typed.signal_group(signal.SIGINT)
        ended = typed.end()
    assert ended.code == 130
    assert "Traceback" not in ended.out
    session = counter.session
    assert f"aether chat --session {session}" in ended.out
    ran = counter.piped(b"are you there?\n", "--session", session)
    assert (ran.code, ran.out) == (0, "Again.\n"), ran.err
    assert counter.asked()[-3:] == [("user", "hello"), ("assistant", "Good day."), ("user", "are you there?")]


@pytest.mark.slow
def test_ctrl_c_during_an_answer_finishes_the_cycle_and_rests(counter: Counter) -> None:
    counter.server.will(stalls("Let me think\n"))
    counter.file.write_text(SCENARIO.replace("retries = 0", "retries = 0\ntimeout_s = 8"), encoding="utf-8")
    with counter.typed() as typed:
        typed.see("› ")
        typed.type("hello")
        typed.see("Let me think")
        typed.signal_group(signal.SIGINT)
        ended = typed.end()
    assert ended.code == 130
    (row,) = counter("session", "list", "--json").rows
    assert row["status"] == "suspended"
    assert counter("log", "verify").code == 0


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_the_answer_and_the_log_is_whole(counter: Counter) -> None:
    counter.server.will(stalls("Let me think\n"))
    counter.file.write_text(SCENARIO.replace("retries = 0", "retries = 0\ntimeout_s = 600"), encoding="utf-8")
    with counter.typed() as typed:
        typed.see("› ")
        typed.type("hello")
        typed.see("Let me think")
        typed.signal_group(signal.SIGINT)
        with pytest.raises(TimeoutError):
            wait_until(lambda: not typed.running, timeout_s=1, what="the first is being obeyed")
        ended = typed.interrupted_again()
    assert ended.code == 130
    assert "Traceback" not in ended.out
    assert counter("log", "verify").code == 0


def test_a_host_that_is_killed_comes_back_and_the_conversation_goes_on(counter: Counter) -> None:
    counter.server.will(says("Good day."), says("Still here."))
    with counter.typed() as typed:
        typed.see("› ")
        typed.type("hello")
        typed.see("Good day.")
        typed.see("› ")
        (host,) = _hosts(counter.aether.folder)
        os.kill(host, signal.SIGKILL)
        typed.type("are you there?")
        typed.see("Still here.")
        typed.see("› ")
        typed.type("/quit")
        ended = typed.end()
    assert ended.code == 0
    assert ended.out.count("Good day.") == 1
    assert len(counter.events("session.resumed")) == 1
    assert counter.asked()[-3:] == [("user", "hello"), ("assistant", "Good day."), ("user", "are you there?")]


@pytest.mark.slow
def test_a_question_can_be_answered_from_elsewhere_while_the_chat_waits(counter: Counter) -> None:
    counter.server.will(pays(500), says("Not paid."))
    with counter.typed() as typed:
        typed.see("› ")
        typed.type("pay bob 500")
        typed.see("effect ")
        typed.see("y/n › ")
        (row,) = counter("session", "show", counter.session, "--json").rows
        assert row["question"]["asks"] == 'pay(amount=500, to="bob")'
        denied = counter("session", "deny", row["session"], row["question"]["effect"][:8], "--why", "no", "--json")
        assert denied.code == 0, denied.err
        assert denied.rows[0]["live"] is True
        typed.type("y")
        typed.see("Not paid.")
        typed.see("› ")
        typed.type("/quit")
        assert typed.end().code == 0
    assert not counter.till.exists()


@pytest.mark.slow
def test_a_question_outlives_the_chat_and_is_answered_with_no_host_alive(counter: Counter) -> None:
    counter.server.will(pays(500), says("Paid 500."))
    ran = counter.piped(b"pay bob 500\n", str(counter.file))
    session = counter.session
    assert ran.code == 0, ran.err
    (line,) = [line for line in ran.err.splitlines() if "aether session approve" in line]
    assert counter("session", "list", "--json").rows[0]["status"] == "waiting"
    shown = counter("session", "show", session)
    assert "pay(amount=500" in shown.out
    effect = line.rsplit(" ", 1)[1]
    assert counter("session", "approve", session, "000000").code == 3
    approved = counter("session", "approve", session, effect, "--why", "fine")
    assert approved.code == 0, approved.err
    assert f"aether session resume {session}" in approved.err
    assert counter("session", "approve", session, effect).code == 2
    gone_on = counter.piped(b"", "--session", session)
    assert gone_on.code == 0, gone_on.err
    assert len(counter.till.read_text().splitlines()) == 1


def test_what_cannot_be_meant_is_said_before_anything_is_started(counter: Counter) -> None:
    for arguments, words in (
        (("examples/maze.toml",), "is no conversation"),
        (("--session", "000000000000"), "there is no log"),
        ((str(counter.file), "--session", "000000000000"), "give --session alone"),
    ):
        ran = counter.piped(b"", *arguments)
        assert ran.code in (2, 3)
        assert words in ran.err
        assert ran.out == ""


def _hosts(folder: Path) -> list[int]:
    """Process ids of the living session hosts that were started from `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            ours = str(folder).encode() in (path / "environ").read_bytes()
            if ours and (path / "cmdline").read_bytes().startswith(b"ray::SessionHost"):
                found.append(int(path.name))
        except OSError:  # it ended meanwhile, or is not ours
            continue
    return found
