"""Sessions that wait for people are let go from memory and come back as if they had never been away.

The real host, in this process; people speak to its desk."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import cast

import pytest

from runtime.errors import NotFound, Unavailable
from runtime.hosting.host import SessionHost
from runtime.hosting.live import Live
from runtime.hosting.orders import SessionOrder
from runtime.people import letters
from runtime.people.approvals import open_question
from runtime.people.desk import Asks, Idle
from runtime.replay import replay
from runtime.sessions import SessionRow
from telemetry.events import Recorded, execute, sense, session
from telemetry.events.values import Message, TextPart
from telemetry.log import EventLog, open_log
from tests import till
from tests.model_server import ModelServer, calls, fails, says
from tests.unit.test_conversation import SCENARIO, asks

BOUND_S = 240.0


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.always = says("I see.")
        yield running


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets and the till lie in a folder of the test's own."""
    monkeypatch.setattr(letters, "ROOT", tmp_path_factory.mktemp("m"))
    monkeypatch.setenv("TILL", str(tmp_path_factory.mktemp("t") / "till"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "host.db")


def message(name: str) -> Message:
    return Message(role="user", parts=(TextPart(text=f"This is {name}."),), id=name)


@asynccontextmanager
async def host_with(
    url: str, text: str, *, attended: bool = True, idle_patience_s: float | None = 0
) -> AsyncIterator[tuple[SessionHost, asyncio.Task[SessionRow]]]:
    """A host that runs the session `s`, and lets it go as soon as it waits with nobody there."""
    host = SessionHost(url, max_sessions=4, disk_patience_s=0, idle_patience_s=idle_patience_s)
    running = asyncio.create_task(host.run(SessionOrder(session="s", scenario_text=text, attended=attended)))
    try:
        async with asyncio.timeout(BOUND_S):
            await until(lambda: host.live.has("session/s"))
            yield host, running
    finally:
        await host.close()


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110  what is waited for has no event of its own
        await asyncio.sleep(0)


async def evicted(host: SessionHost) -> None:
    await until(lambda: host.status().evicted == 1)


def conversation(server: ModelServer) -> str:
    return SCENARIO.format(url=server.url, messages="[]")


def events(log: EventLog, *types: str) -> list[Recorded]:
    return list(log.read("session/s", types=types))


def _asked(url: str) -> execute.ApprovalAsked | None:
    with closing(open_log(url, mode="read")) as log:
        return open_question(log, "s")


def heard(log: EventLog) -> list[str]:
    said = [
        each
        for recorded in events(log)
        if isinstance(recorded.event, sense.Observed)
        for each in recorded.event.observations
    ]
    return [each.id for each in said if isinstance(each, Message) and each.id is not None]


def test_a_session_that_begins_hears_what_it_is_told_before_its_phases_are_made(url: str, server: ModelServer) -> None:
    async def live() -> SessionRow:
        host = SessionHost(url, max_sessions=4, disk_patience_s=0, idle_patience_s=None)
        running = asyncio.create_task(host.run(SessionOrder(session="s", scenario_text=conversation(server))))
        try:
            async with asyncio.timeout(BOUND_S):
                await until(lambda: "session/s" in host.live.running)
                assert host.live.runners == {}
                assert host.status().evicted == 0
                await host.desk.tell("s", message("m1"))
                await until(lambda: host.status().cycles == 1)
                await host.desk.rest("s")
                return await running
        finally:
            await host.close()

    assert asyncio.run(live()).status == "suspended"
    with closing(open_log(url, mode="read")) as log:
        assert heard(log) == ["m1"]


def test_whoever_waits_for_a_session_that_cannot_begin_is_told_why(url: str, server: ModelServer) -> None:
    text = conversation(server).replace('kind = "none"', 'kind = "trained"\nmodel = "nowhere"')

    async def live() -> None:
        host = SessionHost(url, max_sessions=4, disk_patience_s=0, idle_patience_s=None)
        running = asyncio.create_task(host.run(SessionOrder(session="s", scenario_text=text)))
        try:
            async with asyncio.timeout(BOUND_S):
                await until(lambda: "session/s" in host.live.running)
                with pytest.raises(NotFound, match="the model 'nowhere'"):
                    await host.desk.tell("s", message("m1"))
                with pytest.raises(NotFound, match="the model 'nowhere'"):
                    await running
        finally:
            await host.close()

    asyncio.run(live())


def test_an_idle_session_rests_on_its_log_and_nothing_of_it_stays_in_memory(url: str, server: ModelServer) -> None:
    async def live() -> tuple[list[weakref.ref[object]], SessionRow]:
        async with host_with(url, conversation(server), idle_patience_s=None) as (host, running):
            await host.desk.tell("s", message("m1"))
            await until(lambda: host.status().cycles == 1)
            runner = host.live.runners["session/s"]
            parts: list[object] = [runner, runner._journal, runner.talk, runner.attendant]
            kept = [weakref.ref(each) for each in parts]
            parts.clear()
            runner.attendant._patience_s = 0  # from now on
            runner.talk.stir()
            del runner
            await evicted(host)
            assert host.live.runners == {}
            (placement,) = [await task for task in host._placements.values()]
            assert placement.local.toolboxes._toolboxes == {}
            assert not running.done(), "it has not ended for whoever ordered it"
            await host.desk.rest("s")
            return kept, await running

    kept, row = asyncio.run(live())
    gc.collect()
    assert [each() for each in kept] == [None] * 4
    assert row.status == "suspended"
    with closing(open_log(url, mode="read")) as log:
        rested = events(log)[-1].event
        assert isinstance(rested, session.Suspended)
        assert rested.reason == "idle"
        assert rested.state_hash == row.state_hash


def test_what_is_said_to_an_evicted_session_is_heard_once_and_nothing_else_differs(
    url: str, tmp_path: Path, server: ModelServer
) -> None:
    async def talk(path: str, idle_patience_s: float | None) -> tuple[list[str], SessionRow]:
        async with host_with(path, conversation(server), idle_patience_s=idle_patience_s) as (host, running):
            said = []
            for name in ("m1", "m2", "m2", "m3"):
                said.append(await host.desk.tell("s", message(name)))
                if idle_patience_s is not None:
                    await evicted(host)
                else:
                    await until(lambda: host.status().cycles == len(set(said)))
            await host.desk.rest("s")
            return said, await running

    said, row = asyncio.run(talk(url, 0))
    _, calm = asyncio.run(talk(str(tmp_path / "calm.db"), None))
    assert said[1] == said[2], "the same message again is answered with the event that holds it"
    assert row.state_hash == calm.state_hash
    with closing(open_log(url, mode="read")) as log:
        assert heard(log) == ["m1", "m2", "m3"]
        assert len(events(log, "session.resumed")) >= 3
        assert replay(log, "s").agrees


def test_a_crowd_that_speaks_while_a_session_is_evicted_again_and_again_is_heard_once_each(
    url: str, server: ModelServer
) -> None:
    names = [f"m{number}" for number in range(40)]

    async def live() -> None:
        async with host_with(url, conversation(server)) as (host, running):

            async def speak(number: int, name: str) -> None:
                for _ in range(number * 7):
                    await asyncio.sleep(0)
                await asyncio.gather(host.desk.tell("s", message(name)), host.desk.tell("s", message(name)))

            await asyncio.gather(*(speak(number, name) for number, name in enumerate(names)))
            await host.desk.rest("s")
            await running

    asyncio.run(live())
    with closing(open_log(url, mode="read")) as log:
        assert sorted(heard(log)) == sorted(names)
        assert log.verify().ok


def test_a_question_of_an_evicted_session_is_answered_as_if_it_had_never_been_away(
    url: str, server: ModelServer
) -> None:
    server.will(calls(asks("pay", to="bob", amount=300)))

    async def live() -> None:
        async with host_with(url, conversation(server)) as (host, _):
            await host.desk.tell("s", message("m1"))
            await until(lambda: host.status().evicted == 1 and _asked(url) is not None)
            asked = _asked(url)
            assert asked is not None
            with pytest.raises(NotFound, match="nothing that begins with 000000"):
                await host.desk.decide("s", "000000", granted=True, by="ann", why="")
            await evicted(host)
            await host.desk.decide("s", asked.effect, granted=True, by="ann", why="it is due")
            await until(lambda: host.status().cycles == 2)
            await evicted(host)

    asyncio.run(live())
    assert len(till.ledger()) == 1
    with closing(open_log(url, mode="read")) as log:
        (given,) = events(log, "execute.approval_given")
        assert isinstance(given.event, execute.ApprovalGiven)
        assert given.event.by == "ann"
        assert replay(log, "s").agrees


def test_an_answer_that_comes_while_the_session_is_let_go_is_not_left_lying(url: str, server: ModelServer) -> None:
    server.will(calls(asks("pay", to="bob", amount=300)))
    written = threading.Event()

    def snapshot() -> int:
        assert written.wait(BOUND_S)
        return 0

    async def live() -> None:
        async with host_with(url, conversation(server), idle_patience_s=None) as (host, _):
            await host.desk.tell("s", message("m1"))
            await until(lambda: _asked(url) is not None)
            asked, runner = _asked(url), host.live.runners["session/s"]
            assert asked is not None
            runner._journal._keeper._taking = asyncio.get_running_loop().run_in_executor(None, snapshot)
            runner.attendant._patience_s = 0
            runner.talk.stir()
            await until(lambda: runner.attendant.rests)
            await host.desk.decide("s", asked.effect, granted=True, by="ann", why="it is due")
            assert host.live.runners["session/s"] is runner, "its snapshot is being written yet"
            written.set()
            await until(lambda: host.status().cycles == 2)

    asyncio.run(live())
    assert len(till.ledger()) == 1


def test_a_host_that_has_ended_opens_its_log_no_more(url: str, server: ModelServer) -> None:
    async def live() -> None:
        host = SessionHost(url, max_sessions=4, disk_patience_s=0)
        order = SessionOrder(session="s", scenario_text=conversation(server))
        async with asyncio.timeout(BOUND_S):
            opening = asyncio.create_task(host.open())
            await until(host._ready.locked)
            await host.close()  # while it is being opened
            await opening
            open_log(url).close()
            with pytest.raises(Unavailable, match="has ended"):
                await host.run(order)
            open_log(url).close()

    asyncio.run(live())


def test_a_session_that_begins_as_its_last_stay_ends_is_kept_in_mind() -> None:
    async def live() -> None:
        sessions = Live()

        async def stays() -> SessionRow:
            return cast("SessionRow", None)

        async def comes_again(first: asyncio.Task[SessionRow]) -> asyncio.Task[SessionRow]:
            assert first.done()
            assert sessions.running["session/s"] is first, "the loop has not come to say that it ended"
            again = asyncio.create_task(stays())
            sessions.begins("session/s", again)
            return again

        first = asyncio.create_task(stays())
        coming = asyncio.create_task(comes_again(first))
        sessions.begins("session/s", first)
        again = await coming
        assert sessions.running == {"session/s": again}
        await again

    asyncio.run(live())


def test_a_question_whose_time_is_up_brings_an_evicted_session_back(url: str, server: ModelServer) -> None:
    server.will(calls(asks("pay", to="bob", amount=300)))
    text = conversation(server).replace("[heart]", "[heart]\napproval_timeout_s = 0.5")
    assert "approval_timeout_s" in text

    async def live() -> None:
        async with host_with(url, text) as (host, _):
            await host.desk.tell("s", message("m1"))
            await until(lambda: host.status().cycles == 2)

    asyncio.run(live())
    assert till.ledger() == []
    with closing(open_log(url, mode="read")) as log:
        (given,) = events(log, "execute.approval_given")
        assert isinstance(given.event, execute.ApprovalGiven)
        assert (given.event.granted, given.event.by) == (False, "time-out")
        assert "session.suspended" in [recorded.type for recorded in events(log)], "it was away meanwhile"


def test_a_session_that_is_watched_is_kept_and_one_that_was_evicted_is_watched_again(
    url: str, server: ModelServer
) -> None:
    async def live() -> None:
        async with host_with(url, conversation(server)) as (host, _):
            await evicted(host)
            watching = host.desk.watch("s")
            assert isinstance(await anext(watching), Idle)
            await host.desk.tell("s", message("m1"))
            while not isinstance(notice := await anext(watching), Idle):
                assert not isinstance(notice, Asks)
            assert host.status().evicted == 0
            await watching.aclose()
            await evicted(host)

    asyncio.run(live())
    with closing(open_log(url, mode="read")) as log:
        assert heard(log) == ["m1"]
        assert len(events(log, "session.resumed")) == 1


def test_a_model_that_did_not_answer_is_not_asked_again_because_its_session_came_back(
    url: str, server: ModelServer
) -> None:
    server.always = fails(500)
    text = conversation(server)

    async def live() -> int:
        async with host_with(url, text) as (host, _):
            await host.desk.tell("s", message("m1"))
            await evicted(host)
            asked = len(server.sent)
            watching = host.desk.watch("s")
            notice = await anext(watching)
            assert isinstance(notice, Idle)
            assert notice.problem is not None
            await watching.aclose()
            await evicted(host)
            assert len(server.sent) == asked
            server.always = says("Here I am again.")
            await host.desk.tell("s", Message(role="user", parts=()))  # asks to try again
            await until(lambda: host.status().cycles == 2)
            return asked

    assert asyncio.run(live()) < len(server.sent)
    with closing(open_log(url, mode="read")) as log:
        assert json.loads(events(log, "session.suspended")[0].payload)["reason"].startswith("no model answered")
