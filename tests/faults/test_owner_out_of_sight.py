"""A host of another machine that lost its session and lives on: it cannot be looked at, so time decides, and the log.

Two processes on one PostgreSQL log; the former owner's is in a pid namespace of its own, as on another machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runtime.hosting.executors import life_here, parse
from telemetry.events import execute
from telemetry.log import open_log
from tests import courier
from tests.aether import ROOT, end_with_parent, wait_until
from tests.clusters import APART
from tests.model_server import ModelServer, call, calls, says
from tests.owner import STREAM, Owner
from tests.postgres import Server

PATIENCE_S = 120.0
SCENARIO = """
name = "out-of-sight"
[environment]
id = "tools:"
[environment.tools]
modules = ["tests.hasty"]
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
execute_s = 10
"""


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.will(calls(call("rush", json.dumps({"what": "tea"}))), says("Done."))
        yield running


@pytest.mark.skipif(
    subprocess.run([*APART, "true"], capture_output=True, check=False).returncode != 0,
    reason="this user may not make a pid namespace, so there is one machine only",
)
@pytest.mark.parametrize("where", ["before", "after"])
def test_what_a_live_former_owner_out_of_sight_still_sends_is_stopped_or_found_and_nothing_is_done_twice(
    server: Server, model: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("TILL", str(tmp_path / "till"))
    hold = tmp_path / "till.hold"
    hold.write_text(where, encoding="utf-8")
    scenario, url = tmp_path / "scenario.toml", server.schema()
    scenario.write_text(SCENARIO.format(url=model.url), encoding="utf-8")
    with closing(open_log(url)) as log, _former(url, scenario) as former:
        owner = Owner(log, scenario.read_text(encoding="utf-8"))
        wait_until(lambda: "rush" in courier.waiting(), timeout_s=PATIENCE_S, what="the tool is at work")
        running = owner.start()
        wait_until(lambda: owner.waits, timeout_s=PATIENCE_S, what="the new owner waits")
        hold.unlink()
        assert former.communicate(timeout=PATIENCE_S)[0] == "OwnedElsewhere\n"
        assert len(courier.arrived()) == (where == "after"), "what had not passed its check was not sent"
        assert running.result(PATIENCE_S).outcome == "done"
        first, *_ = (r.event for r in log.read(STREAM) if isinstance(r.event, execute.Dispatched))
        executor = parse(first.executor)
        assert executor is not None
        assert life_here(executor) == "unknown"
        succeeded = [r.event for r in log.read(STREAM) if isinstance(r.event, execute.Succeeded)]
        assert sum(outcome.result is not None for outcome in succeeded) == 1
    assert [line.split()[0] for line in courier.arrived()] == ["rush"]


@contextmanager
def _former(url: str, scenario: Path) -> Iterator[subprocess.Popen[str]]:
    """A host that takes the session up, on another machine as far as anybody here can see."""
    process = subprocess.Popen(
        (*APART, sys.executable, "-m", "tests.owner", url, str(scenario)),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
