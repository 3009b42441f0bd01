"""What became of effects, and settling by hand one that is unknown: on its log, by its live host, and to the model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runtime.effects import (
    EffectRow,
    Finding,
    append_reconciled,
    effects,
    finding,
    reconcile,
    unknown,
    unknown_anywhere,
)
from runtime.errors import NotFound, Unavailable, UsageError
from runtime.fork import fork
from runtime.hosting.host import SessionHost
from runtime.hosting.orders import SessionOrder
from runtime.hosting.placement import Placement
from runtime.ledger import ledger
from runtime.people import letters
from runtime.people.approvals import append_answer
from runtime.people.desk import Idle
from runtime.replay import replay
from runtime.runner import SessionRunner
from runtime.scenario import parse_scenario
from runtime.sessions import row_of
from telemetry.errors import LogHeld, LogUnwritable
from telemetry.events import execute, reason
from telemetry.events.values import Message, TextPart, ToolResult
from telemetry.log import EventLog, open_log
from tests import till
from tests.aether import wait_until
from tests.local import OWNER, Cut, CutPlacement, Local, folded
from tests.model_server import ModelServer, call, calls, says

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
base_url = "{url}"
retries = 0
timeout_s = 30
[conversation]
messages = ["post it", "and now?"]
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
where = {{ amount = {{ above = 100 }} }}
"""
POST = call("post", '{"text": "hello"}', call_id="p1")
SAW = '[settled: post(text="hello") of cycle 1 did happen, says ann: it lies in the box; its result: {"stamp":3}]'


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILL", str(tmp_path / "till"))
    monkeypatch.setattr(letters, "ROOT", tmp_path_factory.mktemp("m"))


@pytest.fixture
def text(server: ModelServer) -> str:
    return SCENARIO.format(url=server.url)


class Dying(CutPlacement):
    """A placement whose process ends between an effect and its answer."""

    async def run(self, method: Any, context: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  as its parent's
        answer = await super().run(method, context, *args, **kwargs)
        if method.__name__ == "call":
            raise Cut
        return answer


def runner(log: EventLog, text: str, placed: type[Placement], *, name: str) -> SessionRunner:
    async def stall(error: LogUnwritable) -> None:
        raise error

    file = parse_scenario(text, source="scenario")
    placement = placed(file.scenario, file.text, log, ThreadPoolExecutor(2))
    return SessionRunner(f"session/{name}", file, log=log, placement=placement, memory=None, owner=OWNER, stall=stall)


def doubtful(local: Local, server: ModelServer, text: str, *, name: str = "s") -> EffectRow:
    """Runs a session whose process dies while it posts a letter, to the close of that cycle; its unknown effect."""
    server.will(calls(POST))
    dying = runner(local.log, text, Dying, name=name)
    with pytest.raises(Cut):
        asyncio.run(dying.run(seed=7, cycles=None, stop=lambda: False))
    assert local.run(name, text, stop=lambda: True).status == "suspended"
    (row,) = unknown(local.log, name)
    return row


def settle(log: EventLog, effect: str, *, happened: bool = True, by: str = "ann", **more: str) -> str:
    given = {"why": more.get("why", "it lies in the box"), "result": more.get("result")}
    return append_reconciled(log, "s", effect, happened=happened, by=by, why=given["why"] or "", result=given["result"])


def told(server: ModelServer) -> list[dict[str, Any]]:
    """What the model was sent last, after the system message."""
    sent: list[dict[str, Any]] = server.sent[-1].body["messages"][1:]
    return sent


def words(server: ModelServer) -> list[tuple[str, str | None]]:
    return [(message["role"], message["content"]) for message in told(server)]


def test_what_somebody_found_out_is_an_event_and_the_model_is_told_it_at_its_next_cycle(
    local: Local, server: ModelServer, text: str
) -> None:
    row = doubtful(local, server, text)
    event = settle(local.log, row.effect[:6], result='{"stamp": 3}')
    found = local.events("s")[-1]
    assert found.event == execute.Reconciled(
        effect=row.effect,
        cycle=1,
        happened=True,
        by="ann",
        why="it lies in the box",
        result=ToolResult(call="p1", tool="post", content={"stamp": 3}),
    )
    (doubt,) = local.events("s", "execute.unknown")
    assert (event, found.cause, found.command, found.cycle) == (found.id, doubt.id, f"reconcile.{row.effect[:12]}", 1)
    server.will(says("Good."), says("Bye."))
    assert local.run("s", text).outcome == "done"
    roles = [message["role"] for message in told(server)]
    assert roles == ["user", "assistant", "tool", "user", "assistant", "user"]
    assert "is unknown" in told(server)[2]["content"], "what was said then stays as it was"
    assert told(server)[3]["content"] == SAW
    (asked, *_) = (r.event for r in local.events("s", "reason.requested") if r.cycle == 2)
    assert isinstance(asked, reason.Requested)
    assert event in asked.context
    assert replay(local.log, "s").agrees
    assert local.log.verify().ok
    assert len(till.ledger()) == 1


def test_it_is_told_after_the_answers_of_calls_that_are_open_when_it_comes(
    local: Local, server: ModelServer, text: str
) -> None:
    row = doubtful(local, server, text)
    server.will(calls(call("pay", '{"to": "bob", "amount": 300}', call_id="p2")))
    assert local.run("s", text).status == "waiting"
    settle(local.log, row.effect, happened=False, why="")
    (asked,) = (r.event for r in local.events("s", "execute.approval_asked"))
    assert isinstance(asked, execute.ApprovalAsked)
    append_answer(local.log, "s", asked.effect, granted=True, by="ann", why="")
    server.will(says("Paid."), says("Bye."))
    assert local.run("s", text).outcome == "done"
    assert words(server)[3:6] == [
        ("assistant", None),
        ("tool", '"paid bob"'),
        ("user", '[settled: post(text="hello") of cycle 1 did not happen, says ann]'),
    ]
    assert local.events("s", "execute.reconciled")[0].cycle == 2
    assert replay(local.log, "s").agrees


def test_it_wakes_nobody_and_is_part_of_what_was_said(local: Local, server: ModelServer, text: str) -> None:
    row = doubtful(local, server, text)
    before = folded(local.events("s"))
    settle(local.log, row.effect)
    after = folded(local.events("s"))
    assert (before.effects[0].stage, after.effects) == ("unknown", ())
    assert (after.goes_on, after.unsensed) == (before.goes_on, before.unsensed)
    assert after.dialogue != before.dialogue
    assert after.model_copy(update={"effects": before.effects, "dialogue": before.dialogue}) == before


def test_the_same_again_is_the_first_and_anything_else_is_refused(local: Local, server: ModelServer, text: str) -> None:
    row = doubtful(local, server, text)
    first = settle(local.log, row.effect)
    assert settle(local.log, row.effect[:8].upper()) == first
    for other in ({"happened": False}, {"by": "mallory"}, {"why": "a guess"}, {"result": "1"}):
        with pytest.raises(UsageError, match="it happened, says ann: it lies in the box"):
            settle(local.log, row.effect, **other)
    assert len(local.events("s", "execute.reconciled")) == 1


def test_what_cannot_be_meant_is_refused_with_what_there_is(local: Local, server: ModelServer, text: str) -> None:
    row = doubtful(local, server, text)
    server.will(calls(call("pay", '{"to": "bob", "amount": 3}', call_id="p2")), says("Paid."), says("Bye."))
    local.run("s", text)
    before = local.types("s")
    nothing = "0" * 6 if not row.effect.startswith("0" * 6) else "1" * 6
    with pytest.raises(NotFound, match=f"begins with {nothing}; unknown are {row.effect[:12]}"):
        settle(local.log, nothing)
    with pytest.raises(UsageError, match="at least 6"):
        settle(local.log, row.effect[:5])
    paid = next(r for r in effects(local.log, "s") if r.what.startswith("pay"))
    with pytest.raises(UsageError, match="its log says succeeded"):
        settle(local.log, paid.effect)
    said = next(r for r in effects(local.log, "s") if r.what.startswith("say"))
    with pytest.raises(UsageError, match="its log says succeeded"):
        settle(local.log, said.effect, result="1")
    with pytest.raises(UsageError, match="only what happened has a result"):
        settle(local.log, row.effect, happened=False, result="1")
    for broken in ("paid", "NaN", ""):
        with pytest.raises(UsageError, match="no JSON"):
            settle(local.log, row.effect, result=broken)
    with pytest.raises(NotFound, match="no session 'nobody'"):
        append_reconciled(local.log, "nobody", row.effect, happened=True, by="ann", why="", result=None)
    assert local.types("s") == before, "nothing was written"


def test_an_effect_of_a_closed_session_can_still_be_settled(local: Local, server: ModelServer, text: str) -> None:
    row = doubtful(local, server, text)
    server.will(says("I do not know."), says("Bye."))
    assert local.run("s", text).status == "closed"
    settle(local.log, row.effect)
    head = local.log.head("session/s")
    assert head is not None
    assert row_of(local.log, head).status == "closed"
    assert replay(local.log, "s").agrees
    assert unknown(local.log, "s") == []


def test_every_effect_is_listed_with_how_it_stands(local: Local, server: ModelServer, text: str) -> None:
    row = doubtful(local, server, text)
    assert (row.cycle, row.what, row.effect_class) == (1, 'post(text="hello")', "unsafe")
    both = calls(call("fall_over", "{}", call_id="f"), call("look", '{"item": "tea"}', call_id="l"))
    server.will(both, calls(call("pay", '{"to": "bob", "amount": 300}', call_id="p2")))
    assert local.run("s", text).status == "waiting"
    (asked,) = (r.event for r in local.events("s", "execute.approval_asked"))
    assert isinstance(asked, execute.ApprovalAsked)
    append_answer(local.log, "s", asked.effect, granted=False, by="ann", why="no")
    server.will(says("Well."), says("Bye."))
    local.run("s", text)
    settle(local.log, row.effect, happened=False)
    rows = list(effects(local.log, "s"))
    assert [(r.cycle, r.ordinal, r.what, r.stands) for r in rows[:4]] == [
        (1, 0, 'post(text="hello")', "did not happen"),
        (2, 0, "fall_over()", "failed"),
        (2, 1, 'look(item="tea")', "succeeded"),
        (3, 0, 'pay(amount=300, to="bob")', "cancelled"),
    ]
    assert "fell over" in rows[1].why
    assert rows[0].why == "ann: it lies in the box"
    assert all(r.what.startswith("say") for r in rows[4:])


def test_over_all_sessions_unknown_effects_come_in_pages_and_a_shared_one_once(
    local: Local, server: ModelServer, text: str
) -> None:
    first = doubtful(local, server, text, name="a")
    second = doubtful(local, server, text, name="b")
    (closed,) = local.events("a", "session.cycle_closed")
    fork(local.log, "a", at=closed.version, new="aa")
    assert [row.effect for row in unknown(local.log, "aa")] == [first.effect]
    rows, following = unknown_anywhere(local.log)
    assert ([(row.session, row.effect) for row in rows], following) == (
        [("a", first.effect), ("b", second.effect)],
        None,
    )
    with ledger(local.log) as found:
        assert {row.session: row.unknown_effects for row in found.page()[0]} == {"a": 1, "aa": 0, "b": 1}
    page, following = unknown_anywhere(local.log, limit=1)
    assert ([row.session for row in page], following) == (["a"], "a"), "a page is of sessions that have any"
    assert following is not None
    assert unknown_anywhere(local.log, after=following) == (rows[1:], None)


def test_a_fork_is_told_what_is_found_out_about_what_it_shares(local: Local, server: ModelServer, text: str) -> None:
    row = doubtful(local, server, text)
    (closed,) = local.events("s", "session.cycle_closed")
    fork(local.log, "s", at=closed.version, new="f")
    append_reconciled(
        local.log, "f", row.effect, happened=True, by="ann", why="it lies in the box", result='{"stamp": 3}'
    )
    server.will(says("Good."), says("Bye."))
    assert local.run("f", text).outcome == "done"
    assert ("user", SAW) in words(server)
    assert [r.effect for r in unknown(local.log, "s")] == [row.effect], "its parent goes its own way"


def test_a_session_that_is_still_being_read_takes_nothing_in(local: Local, server: ModelServer, text: str) -> None:
    row = doubtful(local, server, text)
    found = finding(local.log, "s", row.effect, happened=True, by="ann", why="", result=None)
    assert isinstance(found, Finding)
    reading = runner(local.log, text, Placement, name="s")
    with pytest.raises(Unavailable, match=r"nothing was written. Try again"):
        asyncio.run(reading.attendant.reconcile(found.event, command="c", version=found.version))
    assert local.events("s", "execute.reconciled") == []


def test_with_no_live_host_it_is_appended_by_whoever_takes_the_lock(
    tmp_path: Path, server: ModelServer, text: str
) -> None:
    with closing(open_log(tmp_path / "rests.db")) as log:
        local = Local(log)
        row = doubtful(local, server, text)
        local.close()
        with pytest.raises(LogHeld, match=r"held by pid \d+"):
            reconcile(log.url, "s", row.effect, happened=True, by="ann")
    event = reconcile(log.url, "s", row.effect, happened=True, by="ann")
    assert reconcile(log.url, "s", row.effect, happened=True, by="ann") == event
    with closing(open_log(log.url, mode="read")) as log:
        assert unknown(log, "s") == []


def test_a_live_host_settles_it_while_the_session_idles_and_tells_the_agent_once_somebody_speaks(
    tmp_path: Path, server: ModelServer, text: str
) -> None:
    talking = text.replace('messages = ["post it", "and now?"]', 'messages = ["post it"]')
    with closing(open_log(tmp_path / "live.db")) as log:
        local = Local(log)
        effect = doubtful(local, server, talking).effect
        local.close()
    server.will(says("I do not know."))

    async def live() -> tuple[str, str, int]:
        host = SessionHost(log.url, max_sessions=4, disk_patience_s=0)
        await host.open()
        running = asyncio.create_task(host.run(SessionOrder(session="s", attended=True)))
        await asyncio.to_thread(
            wait_until, lambda: host.status().sessions == 1, timeout_s=60, what="the session is taken up"
        )
        watching = host.desk.watch("s")
        await anext(notice async for notice in watching if isinstance(notice, Idle))

        def settled() -> str:
            return reconcile(log.url, "s", effect[:8], happened=True, by="ann", why="it lies in the box")

        first = await asyncio.to_thread(settled)
        again = await asyncio.to_thread(settled)
        asked = len(server.sent)
        server.will(says("So it was posted."))
        await host.desk.tell("s", Message(role="user", parts=(TextPart(text="and now?"),), id="m2"))
        await anext(notice async for notice in watching if isinstance(notice, Idle))
        await host.close()
        await running
        return first, again, asked

    first, again, asked = asyncio.run(live())
    assert first == again
    assert (asked, len(server.sent)) == (2, 3), "the model was asked for the letter and for its outcome, then again"
    assert words(server)[-2:] == [
        ("user", '[settled: post(text="hello") of cycle 1 did happen, says ann: it lies in the box]'),
        ("user", "and now?"),
    ]
    with closing(open_log(log.url, mode="read")) as log:
        (found,) = log.read("session/s", types=("execute.reconciled",))
        (doubt,) = log.read("session/s", types=("execute.unknown",))
        assert (found.id, found.cause) == (first, doubt.id)
        assert replay(log, "s").agrees
        assert json.loads(found.payload)["effect"] == effect
