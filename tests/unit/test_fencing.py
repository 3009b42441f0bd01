"""When an effect of a former owner may be settled, and what keeps that owner's attempts from going out late.

The real runner, tools and log; former executors are real processes, so that they live or are dead in truth."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loops.errors import ToolFailed
from loops.gateway import Gateway, Warrant
from loops.spaces import Spaces, ToolActions, ToolSpec
from runtime.errors import OwnedElsewhere
from runtime.hosting import executors as naming
from runtime.hosting.executors import life_here, named, over, parse, this_process
from runtime.hosting.placement import Placement, epoch_in, gateway_of
from runtime.replay import replay
from telemetry.events import Draft, execute
from telemetry.log import EventLog
from tests import courier
from tests.aether import wait_until
from tests.local import Cut
from tests.model_server import ModelServer, call, calls, says
from tests.owner import Owner

PATIENCE_S = 60.0
NEVER = 1 << 62
"""A deadline that no test lives to see."""
SCENARIO = """
name = "fencing"
[environment]
id = "tools:"
[environment.tools]
modules = ["tests.courier"]
[reasoner]
kind = "language"
[reasoner.language.endpoints.main]
model = "test-model"
base_url = "{url}"
[conversation]
messages = ["go"]
[world_model]
kind = "none"
[memory]
recall = 0
[timeouts]
execute_s = 300
"""
SETTLED = {
    "pay": "execute.succeeded",
    "deliver": "execute.succeeded",
    "book": "execute.succeeded",
    "post": "execute.unknown",
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that holds calls up while it is there."""
    monkeypatch.setenv("TILL", str(tmp_path / "till"))
    return tmp_path / "till.hold"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is ended."""
    with subprocess.Popen(["sleep", "1000"]) as running:
        yield running
        running.kill()


class Dying(Placement):
    """Its process dies when a call is about to be made."""

    async def run(self, method: Any, context: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  as `Placement`
        if method.__name__ == "call":
            raise Cut
        return await super().run(method, context, *args, **kwargs)


class Hesitant:
    """A log that takes no unknown outcome until `go`, as when whoever says it is held up."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.go = threading.Event()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the log's own methods
        return getattr(self._log, name)

    def submit(self, stream: str, drafts: Sequence[Draft], **more: Any) -> Any:  # noqa: ANN401  as the log's
        if any(isinstance(draft.event, execute.UnknownOutcome) for draft in drafts):
            assert self.go.wait(PATIENCE_S)
        return self._log.submit(stream, drafts, **more)


def dispatched_by(executor: str, log: EventLog, server: ModelServer, tool: str) -> str:
    """A session whose owner is gone since it handed a call to `executor`; the text of its scenario."""
    text = SCENARIO.format(url=server.url)
    server.will(calls(call(tool, '{"what": "tea"}')), says("Done."))
    with pytest.raises(Cut):
        Owner(log, text, gateway=Gateway(executor, epoch_of=lambda _: 1), kind=Dying).run()
    return text


def outcomes(log: EventLog) -> list[str]:
    types = ("execute.succeeded", "execute.failed", "execute.unknown")
    events = [r.event for r in log.read("session/s", types=types)]
    return [e.type for e in events if not isinstance(e, execute.Succeeded) or e.result is not None]


def executors(log: EventLog) -> list[str]:
    sent = [r.event for r in log.read("session/s", types=("execute.dispatched",)) if r.cycle == 1]
    return [one.executor for one in sent if isinstance(one, execute.Dispatched)]


def landed() -> Counter[str]:
    return Counter(line.split()[0] for line in courier.arrived())


# --- waiting for the former executor ---------------------------------------------------------------------


@pytest.mark.parametrize("tool", SETTLED)
def test_an_effect_whose_executor_is_known_dead_is_settled_at_once(
    log: EventLog, server: ModelServer, process: subprocess.Popen[bytes], tool: str
) -> None:
    text = dispatched_by(str(named(process.pid)), log, server, tool)
    process.kill()
    process.wait()
    owner = Owner(log, text)
    assert owner.run().outcome == "done"
    assert outcomes(log) == [SETTLED[tool]]
    assert landed() == ({} if tool == "post" else {tool: 1})
    assert replay(log, "s").agrees


@pytest.mark.parametrize("tool", SETTLED)
def test_an_effect_whose_executor_lives_is_settled_only_when_that_is_dead(
    log: EventLog, server: ModelServer, process: subprocess.Popen[bytes], tool: str
) -> None:
    former = str(named(process.pid))
    text = dispatched_by(former, log, server, tool)
    owner = Owner(log, text)
    running = owner.start()
    wait_until(lambda: owner.waits, timeout_s=PATIENCE_S, what="the new owner waits")
    assert f"pid {process.pid} on " in str(owner.runner.progress.waiting)
    assert outcomes(log) == []
    process.kill()
    assert running.result(PATIENCE_S).outcome == "done"
    assert not owner.waits
    assert outcomes(log) == [SETTLED[tool]]
    both = [former, this_process()]
    assert executors(log) == (both[:1] if tool == "post" else both), "who attempts it again says so before"


def test_a_call_that_changes_nothing_is_made_again_beside_a_living_executor(
    log: EventLog, server: ModelServer, process: subprocess.Popen[bytes]
) -> None:
    text = dispatched_by(str(named(process.pid)), log, server, "look")
    assert Owner(log, text).run().outcome == "done"
    assert outcomes(log) == ["execute.succeeded"]
    assert executors(log) == [str(named(process.pid))]


def test_a_session_that_is_asked_to_stop_while_it_waits_rests_and_settles_the_effect_another_time(
    log: EventLog, server: ModelServer, process: subprocess.Popen[bytes]
) -> None:
    text = dispatched_by(str(named(process.pid)), log, server, "deliver")
    assert Owner(log, text).run(stop=lambda: True).status == "suspended"
    assert outcomes(log) == []
    process.kill()
    process.wait()
    assert Owner(log, text).run().outcome == "done"
    assert landed() == {"deliver": 1}
    assert replay(log, "s").agrees


@pytest.mark.parametrize("executor", ["an-older/123", "far:0123456789ab:77/123"])
def test_of_an_executor_that_cannot_be_looked_at_the_deadline_decides(executor: str) -> None:
    def done(until: int, *, stop: bool, under_way: bool = True) -> bool:
        async def tells(_: execute.Dispatched) -> bool:
            return under_way

        sent = execute.Dispatched(effect="0" * 64, executor=executor, deadline=0)
        return asyncio.run(over(sent, until=until, under_way=tells, stop=lambda: stop, waits=lambda _: None))

    assert done(0, stop=False), "long past"
    assert not done(NEVER, stop=True)
    assert done(NEVER, stop=False, under_way=False), "its executor answered for it"


def test_a_process_is_named_for_when_it_was_started_so_that_another_with_its_pid_is_not_taken_for_it(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    former = named(process.pid)
    monkeypatch.setattr(naming, "_started", lambda _: "another time")  # the pid is another process' now
    assert named(process.pid) != former
    assert life_here(former) == "dead"
    assert life_here(named(process.pid)) == "alive"


def test_a_process_is_dead_when_it_was_killed_or_its_pid_is_another_process_now(
    process: subprocess.Popen[bytes],
) -> None:
    executor = named(process.pid)
    assert parse(str(executor)) == executor
    assert life_here(executor) == "alive"
    assert life_here(executor._replace(started="1")) == "dead"
    assert life_here(executor._replace(place="0" * 12)) == "unknown"
    process.kill()
    wait_until(lambda: life_here(executor) == "dead", timeout_s=PATIENCE_S, what="it is dead although nobody reaped it")
    assert parse("machine/12") is None


# --- the way out -----------------------------------------------------------------------------------------

WARRANT = Warrant(stream="session/s", effect="e" * 64, epoch=3, executor="me", deadline=100)


@pytest.mark.parametrize(
    ("warrant", "now", "epoch", "why"),
    [
        (WARRANT, 99, 3, None),
        (WARRANT, 100, 3, "its deadline passed"),
        (WARRANT, 99, 4, "another owner, of epoch 4"),
        (replace(WARRANT, executor="you"), 99, 3, "it was handed to you, this is me"),
    ],
)
def test_an_attempt_goes_out_only_as_it_was_dispatched(warrant: Warrant, now: int, epoch: int, why: str | None) -> None:
    gateway = Gateway("me", epoch_of=lambda _: epoch, clock=lambda: now)
    if why is None:
        gateway.check(warrant)
        return
    with pytest.raises(ToolFailed, match=why) as stopped:
        gateway.check(warrant)
    assert stopped.value.kind == "fenced"
    assert "nothing was sent" in str(stopped.value).lower()


@pytest.mark.parametrize("where", ["before", "after"])
def test_an_owner_that_was_fenced_while_its_tool_prepared_sends_nothing_and_what_it_sent_before_is_found(
    log: EventLog, server: ModelServer, hold: Path, where: str
) -> None:
    hold.write_text(where, encoding="utf-8")
    text = SCENARIO.format(url=server.url)
    server.will(calls(call("deliver", '{"what": "tea"}')), says("Done."))
    here = gateway_of(log)
    stale, new = Owner(log, text, gateway=here), Owner(log, text, gateway=here)
    fenced = stale.start()
    wait_until(lambda: "deliver" in courier.waiting(), timeout_s=PATIENCE_S, what="the tool is at work")
    running = new.start()
    wait_until(lambda: new.waits, timeout_s=PATIENCE_S, what="the new owner waits for the call under way")
    hold.unlink()
    with pytest.raises(OwnedElsewhere):
        fenced.result(PATIENCE_S)
    assert running.result(PATIENCE_S).outcome == "done"
    assert landed() == {"deliver": 1}
    assert outcomes(log) == ["execute.succeeded"]


def test_of_an_owner_that_lives_out_of_sight_the_call_is_over_after_its_time_and_what_it_still_tries_is_stopped(
    log: EventLog, server: ModelServer, hold: Path
) -> None:
    """As two hosts on machines that cannot ask each other: each has a way out of its own."""
    hold.write_text("before", encoding="utf-8")
    text = SCENARIO.format(url=server.url).replace("execute_s = 300", "execute_s = 10")
    text = text.replace("tests.courier", "tests.hasty")
    server.will(calls(call("rush", '{"what": "tea"}')), says("Done."))
    far = Gateway("far:0123456789ab:77/123", epoch_of=epoch_in(log))
    before_it_gives_up: Any = Hesitant(log)
    stale, new = Owner(before_it_gives_up, text, gateway=far), Owner(log, text)
    fenced = stale.start()
    wait_until(lambda: "rush" in courier.waiting(), timeout_s=PATIENCE_S, what="the tool is at work")
    (effect,) = (r.event.effect for r in log.read("session/s") if isinstance(r.event, execute.Intended))
    running = new.start()
    resumed = ("session.resumed",)
    wait_until(lambda: any(log.read("session/s", types=resumed)), timeout_s=PATIENCE_S, what="the new owner is there")
    before_it_gives_up.go.set()
    assert running.result(PATIENCE_S).outcome == "done"
    assert landed() == {"rush": 1}
    hold.unlink()
    with pytest.raises(OwnedElsewhere):
        fenced.result(PATIENCE_S)
    wait_until(lambda: not far.under_way(effect), timeout_s=PATIENCE_S, what="the tool of the former ended")
    assert landed() == {"rush": 1}


def test_a_call_whose_executor_was_replaced_before_it_was_sent_is_dispatched_anew_and_made_once(
    log: EventLog, server: ModelServer
) -> None:
    class Replaced(Placement):
        asked = 0

        def executor(self, stream: str) -> str:
            self.asked += 1
            return "gone:0123456789ab:1/1" if self.asked == 1 else super().executor(stream)

    server.will(calls(call("post", '{"what": "tea"}')), says("Done."))
    assert Owner(log, SCENARIO.format(url=server.url), kind=Replaced).run().outcome == "done"
    assert executors(log) == ["gone:0123456789ab:1/1", this_process()]
    assert outcomes(log) == ["execute.succeeded"]
    assert landed() == {"post": 1}


def test_a_call_that_was_held_up_past_its_deadline_before_it_was_sent_is_dispatched_anew_and_made_once(
    log: EventLog, server: ModelServer
) -> None:
    late = iter((NEVER,))  # as when a full disk held the dispatch up
    gateway = Gateway(this_process(), epoch_of=epoch_in(log), clock=lambda: next(late, 0) or time.time_ns())
    server.will(calls(call("post", '{"what": "tea"}')), says("Done."))
    assert Owner(log, SCENARIO.format(url=server.url), gateway=gateway).run().outcome == "done"
    first, second = (r.event for r in log.read("session/s", types=("execute.dispatched",)) if r.cycle == 1)
    assert isinstance(first, execute.Dispatched)
    assert isinstance(second, execute.Dispatched)
    assert first.deadline < second.deadline
    assert outcomes(log) == ["execute.succeeded"]
    assert landed() == {"post": 1}


# --- what a session may go on with -----------------------------------------------------------------------


def _tools(**changes: Any) -> Spaces:  # noqa: ANN401  fields of a tool
    said = {"type": "string", "description": "what it says"}
    schema: dict[str, Any] = {"type": "object", "properties": {"description": said}}
    tool = ToolSpec(name="t", description="does it", parameters=schema, effect_class="keyed", timeout_s=3)
    return Spaces(observation=(), action=ToolActions(tools=(tool.model_copy(update=changes),)))


def test_tools_may_change_their_words_and_get_faster_between_lives_of_a_session_and_nothing_else() -> None:
    other_words = {"type": "object", "properties": {"description": {"type": "string"}}}
    assert _tools().fits(_tools(description="does it well", timeout_s=2, parameters=other_words))
    assert not _tools().fits(_tools(timeout_s=4))
    assert not _tools().fits(_tools(parameters={"type": "object", "properties": {}}))
    assert not _tools().fits(_tools(effect_class="unsafe"))
    assert not _tools().fits(_tools(name="u"))
    assert not _tools().fits(_tools(secret=("description",)))
