"""A conversation when something goes wrong around it: late tools, lost servers, hosts that die, words nobody can store.

The real runner, reasoner, tools and endpoint in this process; what really happened stands in the till's ledger."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from loops.errors import ScenarioInvalid
from loops.scene import Scene
from runtime.errors import NotFound, Unavailable
from runtime.hosting.host import SessionHost
from runtime.hosting.orders import SessionOrder
from runtime.hosting.placement import Placement
from runtime.people.approvals import append_answer
from runtime.people.desk import Ended, Notice
from runtime.replay import replay
from runtime.runner import SessionRunner
from runtime.scenario import parse_scenario
from runtime.sessions import SessionRow
from telemetry.errors import LogUnwritable
from telemetry.events import execute, reason, sense
from telemetry.events.values import Message, TextPart
from telemetry.log import EventLog
from tests import till
from tests.local import OWNER, Cut, CutPlacement, Local
from tests.model_server import ModelServer, call, calls, fails, says
from tests.unit.test_conversation import SCENARIO, asks

TOOLS = '"tests.till", "tests.mishaps"'


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _till(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILL", str(tmp_path / "till"))


def scenario(server: ModelServer, *messages: str) -> str:
    return SCENARIO.format(url=server.url, messages=json.dumps(messages)).replace('"tests.till"', TOOLS)


def outcomes(local: Local, name: str = "s") -> list[Any]:
    """What became of tool calls."""
    types = ("execute.succeeded", "execute.failed", "execute.unknown", "execute.cancelled")
    events = [r.event for r in local.events(name, *types)]
    return [e for e in events if not isinstance(e, execute.Succeeded) or e.result is not None]


# --- effects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["send", "reserve"])
def test_a_call_that_is_given_up_may_still_happen_so_it_is_not_made_again(
    local: Local,
    server: ModelServer,
    tmp_path: Path,
    tool: str,
) -> None:
    server.will(calls(asks(tool, what="tea")), says("I do not know."))
    assert local.run("s", scenario(server, "go")).outcome == "done"
    (outcome,) = outcomes(local)
    assert isinstance(outcome, execute.UnknownOutcome)
    assert "may still happen" in outcome.why
    assert till.ledger() == []
    (tmp_path / "till.go").touch()
    assert _late_line(), "the call that was given up was to happen late"
    assert len(till.ledger()) == 1


def _late_line() -> bool:
    late = time.monotonic() + 60
    while not till.ledger() and time.monotonic() < late:
        time.sleep(0.01)
    return bool(till.ledger())


@pytest.mark.parametrize(("tool", "words"), [("stammer", "no such file: \\udcff"), ("rant", "more characters")])
def test_an_error_whose_words_no_event_can_hold_is_told_in_words_that_one_can(
    local: Local,
    server: ModelServer,
    tool: str,
    words: str,
) -> None:
    server.will(calls(asks(tool, what="tea")), says("Oh."))
    assert local.run("s", scenario(server, "go")).outcome == "done"
    (outcome,) = outcomes(local)
    assert isinstance(outcome, execute.Failed)
    assert words in outcome.error


def test_of_parallel_calls_every_outcome_is_recorded_although_one_breaks_the_session(
    local: Local,
    server: ModelServer,
) -> None:
    class Gone(CutPlacement):
        """A placement whose process has no toolbox for the first call."""

        async def run(self, method: Any, context: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if method.__name__ == "call" and args == (0,):
                raise ScenarioInvalid("the toolbox is gone")
            return await super().run(method, context, *args, **kwargs)

    server.will(calls(asks("post", "a", text="x"), asks("pay", "b", to="bob", amount=1)))
    text = scenario(server, "go")
    row = asyncio.run(
        runner(local.log, text, placed(Gone, text, local.log)).run(seed=7, cycles=None, stop=lambda: False)
    )
    assert (row.outcome, row.error) == ("failed", "the toolbox is gone")
    became = {o.ordinal: o.type for o in outcomes(local)}
    assert became == {0: "execute.unknown", 1: "execute.succeeded"}
    assert local.types("s")[-2:] == ["learn.session_reviewed", "session.closed"]
    assert replay(local.log, "s").agrees


@pytest.mark.parametrize("what", ["name", "id", "many"])
def test_no_call_that_a_model_can_write_bursts_the_state(local: Local, server: ModelServer, what: str) -> None:
    pay = asks("pay", "a" * 70_000 if what == "id" else "a", to="bob", amount=300)
    others = {
        "name": [asks("x" * 100_000, "b")],
        "id": [],
        "many": [asks("look", f"c{i}", item="x") for i in range(1500)],
    }
    server.will(calls(pay, *others[what]), says("Well."))
    text = scenario(server, "go").replace("timeout_s = 60", "timeout_s = 60\nstream = false")
    assert local.run("s", text).status == "waiting"
    (asked,) = (r.event for r in local.events("s", "execute.approval_asked"))
    assert isinstance(asked, execute.ApprovalAsked)
    append_answer(local.log, "s", asked.effect, granted=True, by="ann", why="")
    assert local.run("s", text).outcome == "done"
    sent = [c for m in server.sent[-1].body["messages"] for c in m.get("tool_calls", [])]
    assert max(len(c["id"]) for c in sent) <= 40
    assert max(len(c["function"]["name"]) for c in sent) <= 64


# --- taking a session up again ---------------------------------------------------------------------------


def cut_in_a_call(local: Local, text: str) -> None:
    """Ends the process between an effect and its answer."""

    class Dying(CutPlacement):
        async def run(self, method: Any, context: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            answer = await super().run(method, context, *args, **kwargs)
            if method.__name__ == "call":
                raise Cut
            return answer

    placement = placed(Dying, text, local.log)
    with pytest.raises(Cut):
        asyncio.run(runner(local.log, text, placement).run(seed=7, cycles=None, stop=lambda: False))


def placed(kind: type[Placement], text: str, log: EventLog) -> Placement:
    file = parse_scenario(text, source="scenario")
    return kind(file.scenario, file.text, log, ThreadPoolExecutor(4))


def runner(log: EventLog, text: str, placement: Placement | None = None, *, attended: bool = False) -> SessionRunner:
    file = parse_scenario(text, source="scenario")

    async def stall(error: LogUnwritable) -> None:
        raise error

    return SessionRunner(
        "session/s",
        file,
        log=log,
        placement=placement or placed(Placement, text, log),
        memory=None,
        owner=OWNER,
        stall=stall,
        attended=attended,
    )


def test_tools_that_cannot_be_made_on_resume_cost_neither_the_session_nor_the_outcome_of_its_last_effect(
    local: Local,
    server: ModelServer,
) -> None:
    server.will(calls(asks("post", text="hello")), says("Hm."))
    text = scenario(server, "post it")
    cut_in_a_call(local, text)
    before = local.types("s")
    with pytest.raises(Unavailable, match=r"Nothing was written.*aether session resume s"):
        local.run("s", text.replace("tests.mishaps", "tests.nowhere"))
    assert local.types("s") == before
    assert local.run("s", text).outcome == "done"
    assert [o.type for o in outcomes(local)] == ["execute.unknown"]
    assert len(till.ledger()) == 1


def test_a_session_that_fails_with_an_effect_under_way_says_that_nobody_knows_what_became_of_it(
    local: Local,
    server: ModelServer,
) -> None:
    server.will(calls(asks("post", text="hello")))
    text = scenario(server, "post it")
    cut_in_a_call(local, text)
    row = local.run("s", text.replace(', "tests.mishaps"', ""))  # other tools than it began with
    assert row.outcome == "failed"
    (outcome,) = outcomes(local)
    assert isinstance(outcome, execute.UnknownOutcome)
    assert "the session ended first" in outcome.why
    assert replay(local.log, "s").agrees


def test_a_session_whose_tools_cannot_be_made_leaves_nothing_on_the_log(
    local: Local,
    server: ModelServer,
) -> None:
    with pytest.raises(ScenarioInvalid, match=r"tests\.nowhere"):
        local.run("s", scenario(server, "go").replace("tests.mishaps", "tests.nowhere"))
    assert local.types("s") == []


def test_after_a_model_that_did_not_answer_the_next_message_waits_for_its_turn(
    local: Local,
    server: ModelServer,
) -> None:
    server.will(fails(500))
    text = scenario(server, "one", "two")
    assert local.run("s", text).status == "suspended"
    server.will(says("First."), says("Second."))
    assert local.run("s", text).outcome == "done"
    asked = [[m["content"] for m in sent.body["messages"] if m["role"] == "user"] for sent in server.sent]
    assert asked == [["one"], ["one"], ["one", "two"]]


# --- people ----------------------------------------------------------------------------------------------


def test_a_message_that_is_told_again_while_the_log_is_still_read_is_heard_once(
    local: Local,
    server: ModelServer,
) -> None:
    text = scenario(server)
    server.will(says("Hello."))
    said = Message(role="user", parts=(TextPart(text="hi"),), id="m1")

    async def visit() -> str:
        live = runner(local.log, text, attended=True)
        stopping = False
        running = asyncio.create_task(live.run(seed=7, cycles=None, stop=lambda: stopping))
        told = asyncio.create_task(live.talk.tell(said))
        event = await told
        stopping = True
        live.talk.stir()
        await running
        return event

    first = asyncio.run(visit())
    server.will(says("Once more."))
    assert asyncio.run(visit()) == first
    heard = [r.event.observations for r in local.events("s", "sense.observed") if isinstance(r.event, sense.Observed)]
    assert [o for seen in heard for o in seen] == [said]


def test_whoever_speaks_to_or_watches_a_session_that_breaks_off_is_told(
    local: Local,
    server: ModelServer,
) -> None:
    text = scenario(server)

    class Full:
        """A log whose disk is full from some moment on."""

        full = False

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            return getattr(local.log, name)

        def submit(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if self.full:
                raise LogUnwritable("no room on the disk")
            return local.log.submit(*args, **kwargs)

    disk: Any = Full()

    async def visit() -> tuple[list[Notice], BaseException | None]:
        live = runner(disk, text, attended=True)
        running = asyncio.create_task(live.run(seed=7, cycles=None, stop=lambda: False))
        shown: list[Notice] = []
        idle = asyncio.Event()

        async def watch() -> None:
            async for notice in live.talk.watch():
                shown.append(notice)
                disk.full = True
                idle.set()

        watching = asyncio.create_task(watch())
        await idle.wait()
        telling = asyncio.create_task(live.talk.tell(Message(role="user", parts=(TextPart(text="hi"),), id="m1")))
        async with asyncio.timeout(60):
            told, broke, _ = await asyncio.gather(telling, running, watching, return_exceptions=True)
        assert isinstance(broke, LogUnwritable)
        assert isinstance(told, NotFound)
        return shown, told

    shown, told = asyncio.run(visit())
    assert shown[-1] == Ended(status="open", reason="no room on the disk")
    assert "was not heard" in str(told)


def test_an_answer_that_comes_while_the_session_lies_down_to_rest_takes_it_up_again(
    tmp_path: Path,
    server: ModelServer,
) -> None:
    server.will(calls(asks("pay", to="bob", amount=300)), says("Paid."))
    order = SessionOrder(session="s", scenario_text=scenario(server, "pay bob"))

    async def answered() -> SessionRow:
        host = SessionHost(str(tmp_path / "host.db"), max_sessions=1, disk_patience_s=1)
        running = asyncio.create_task(host.run(order))
        while (scene := _scene(host)) is None or "session.suspended" not in scene.ids:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert scene.asked is not None
        await host.desk.decide("s", scene.asked.effect, granted=True, by="ann", why="")
        assert (await running).status != "closed"
        row = await asyncio.wait_for(asyncio.gather(*host.desk.resumed), 60)
        await host.close()
        return row[0]

    assert asyncio.run(answered()).outcome == "done"
    assert len(till.ledger()) == 1


def _scene(host: SessionHost) -> Scene | None:
    live = host.live.runners.get("session/s")
    return None if live is None else live.attendant._journal.scene


# --- secrets ---------------------------------------------------------------------------------------------


def test_a_secret_that_the_model_writes_in_another_argument_or_in_broken_json_reaches_no_event(
    local: Local,
    server: ModelServer,
) -> None:
    server.will(
        calls(asks("unlock", "a", pin="hunter2-hunter2"), asks("tell", "b", text="it is hunter2-hunter2")),
        calls(call("tell", '{"text": "hunter2-hunter2', call_id="c")),
        says("Done."),
    )
    assert local.run("s", scenario(server, "go")).outcome == "done"
    assert len([r for r in local.events("s", "reason.answered") if isinstance(r.event, reason.Answered)]) == 3
    assert not any(b"hunter2" in (r.content or r.payload) for r in local.events("s"))
