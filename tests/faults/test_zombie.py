"""A host is killed while a slow phase actor of its is inside tools of every class: what the actor still does finds its
way to the log, and nothing is done twice.

The zombie lives on because Ray's control store is stopped, as it is for a node that lost its network: nobody ends the
phase actors of the dead host. Another owner takes the session over, on the same log and on a Ray of its own."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from runtime.hosting.executors import life_here, parse
from telemetry.errors import LogError
from telemetry.events import execute
from telemetry.log import open_log
from tests import clusters, courier
from tests.aether import Aether, Started, wait_until
from tests.model_server import ModelServer, Wire, call, calls, says

TOOLS = ("pay", "deliver", "book", "post")
PATIENCE_S = 100.0
SCENARIO = """
name = "zombie"
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
messages = ["send everything"]
[world_model]
kind = "none"
[memory]
recall = 0
[timeouts]
execute_s = 300
[placement]
execute = "hands"
[pools.hands]
cpus = 0.5
"""


async def _policy(request: web.Request, body: Wire) -> web.StreamResponse:
    if body["messages"][-1]["role"] != "user":
        return await says("Done.")(request, body)
    return await calls(*(call(t, json.dumps({"what": "tea"}), call_id=t) for t in TOOLS))(request, body)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.always = _policy
        yield running


@pytest.fixture
def till(aether: Aether, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = aether.folder / "till"
    monkeypatch.setenv("TILL", str(path))
    aether.env["TILL"] = str(path)
    return path


@pytest.fixture
def lonely(till: Path) -> Iterator[clusters.Head]:
    """A cluster whose control store may be stopped: nobody else is on it."""
    cluster = clusters.Head(TILL=str(till))
    yield cluster
    cluster.close()


@dataclass(frozen=True)
class World:
    """A session whose four calls are on their way out of a phase actor, and the file they wait for."""

    aether: Aether
    run: Started
    hold: Path
    session: str
    host: int
    zombie: int


def _sending(aether: Aether, server: ModelServer, till: Path, where: str) -> World:
    hold = Path(f"{till}.hold")
    hold.write_text(where, encoding="utf-8")
    scenario = aether.folder / "zombie.toml"
    scenario.write_text(SCENARIO.format(url=server.url), encoding="utf-8")
    run = aether.start("run", str(scenario), "--json")
    try:
        wait_until(lambda: courier.waiting().keys() == set(TOOLS), timeout_s=PATIENCE_S, what="all tools are at work")
        (zombie,) = set(courier.waiting().values())
        (row,) = aether("session", "list", "--json").rows
        host = int(aether.log.with_name("aether.db.lock").read_text(encoding="utf-8").split()[1])
    except BaseException:
        run.kill()
        raise
    return World(aether, run, hold, row["session"], host, zombie)


@pytest.mark.parametrize("where", ["after", "before"])
def test_a_zombie_that_finishes_late_is_waited_for_or_stopped_and_nothing_is_done_twice(
    aether: Aether, lonely: clusters.Head, server: ModelServer, till: Path, where: str
) -> None:
    alone = Aether(aether.folder)
    alone.env["TILL"] = str(till)
    aether.attach(lonely)
    world = _sending(aether, server, till, where)
    with world.run, lonely.control_store_stopped():
        os.kill(world.host, signal.SIGKILL)
        with alone.start("session", "resume", world.session, terminal=True) as resumed:
            wait_until(lambda: f"pid {world.zombie} on" in resumed.shown(), timeout_s=PATIENCE_S, what="it waits")
            assert _outcomes(aether.log) == {}, "nothing is settled while the former executor may still be at work"
            world.hold.unlink()
            if where == "after":
                wait_until(lambda: len(courier.arrived()) == len(TOOLS), timeout_s=PATIENCE_S, what="it lands late")
            assert _outcomes(aether.log) == {}, "that something landed does not make it known"
            lonely.let_go()
            ran = resumed.end(timeout_s=PATIENCE_S)
    assert ran.code == 0, ran.out
    landed = Counter(line.split()[0] for line in courier.arrived())
    done = {"pay": 1, "deliver": 1, "book": 1}
    assert landed == (done | {"post": 1} if where == "after" else done)
    assert _outcomes(aether.log) == dict.fromkeys(done, "execute.succeeded") | {"post": "execute.unknown"}
    (unknown,) = alone("session", "effects", world.session, "--json").rows
    assert str(unknown["what"]).startswith("post(")
    assert len(_executors(aether.log, "deliver")) == 2, "each owner named who makes the call before it was made"


def test_a_host_killed_while_its_phase_actor_is_inside_tools_goes_on_and_does_nothing_twice(
    aether: Aether, lonely: clusters.Head, server: ModelServer, till: Path
) -> None:
    aether.attach(lonely)
    world = _sending(aether, server, till, "after")
    with world.run:
        os.kill(world.host, signal.SIGKILL)
        world.hold.unlink()
        ran = world.run.end(timeout_s=PATIENCE_S)
    assert ran.code == 0, ran.err
    landed = Counter(line.split()[0] for line in courier.arrived())
    assert landed.pop("post", 0) <= 1
    assert landed == {"pay": 1, "deliver": 1, "book": 1}
    assert _outcomes(aether.log)["post"] == "execute.unknown"
    for name in _executors(aether.log, "deliver"):
        executor = parse(name)
        assert executor is not None
        assert executor.node, "a phase actor is named with its node"
        assert life_here(executor) == "dead"
    assert str(world.zombie) == _executors(aether.log, "deliver")[0].rpartition("/")[2]


def _outcomes(log: Path) -> dict[str, str]:
    """Type of the outcome of each call, by its tool."""
    outcomes = {}
    tools = _tools(log)
    for recorded in _events(log, "execute.succeeded", "execute.failed", "execute.unknown"):
        effect = getattr(recorded, "effect", "")
        if effect in tools:
            outcomes[tools[effect]] = getattr(recorded, "type", "")
    return outcomes


def _executors(log: Path, tool: str) -> list[str]:
    tools = _tools(log)
    sent = _events(log, "execute.dispatched")
    return [one.executor for one in sent if isinstance(one, execute.Dispatched) and tools.get(one.effect) == tool]


def _tools(log: Path) -> dict[str, str]:
    """The tool of each intended call, by its effect."""
    intended = [one for one in _events(log, "execute.intended") if isinstance(one, execute.Intended)]
    return {one.effect: one.action.calls[0].tool for one in intended if one.action.kind == "tool_calls"}


def _events(log: Path, *types: str) -> list[object]:
    try:
        with closing(open_log(log, mode="read")) as store:
            return [recorded.event for recorded in store.read_all(types=types)]
    except LogError:  # it is not made yet
        return []
