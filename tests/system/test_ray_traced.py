"""Spans that users' code opens join the trace that follows from the events, in whichever Ray actor the code runs."""

from __future__ import annotations

from contextlib import closing

import pytest

from telemetry.events import execute
from telemetry.log import open_log
from tests.aether import Aether
from tests.model_server import ModelServer
from tests.traced import TALK, WORLD, opened, places, policy

POOL = """
[placement]
{phases}
[pools.elsewhere]
cpus = 0.5
"""


@pytest.mark.parametrize("where", [pytest.param("host", marks=pytest.mark.slow), "pool"])
@pytest.mark.parametrize("what", ["tools", "world"])
def test_a_span_is_the_child_of_its_effects_span(aether: Aether, where: str, what: str) -> None:
    scenario, file = aether.folder / "traced.toml", aether.folder / "spans.jsonl"
    with ModelServer() as model:
        model.always = policy
        # Its tools might take a secret, so who reasons and who acts must be one process.
        phases = 'execute = "elsewhere"' + ('\nreason = "elsewhere"' if what == "tools" else "")
        text = WORLD if what == "world" else TALK.format(url=model.url, errand="look about", more="")
        scenario.write_text(text + (POOL.format(phases=phases) if where == "pool" else ""), encoding="utf-8")
        ran = aether("run", str(scenario), "--json", env={"SPANS": str(file)})
        assert ran.code == 0, ran.err
        told = [sent.headers["traceparent"] for sent in model.sent]
    with closing(open_log(aether.log, mode="read")) as log:
        (stream,) = (e.stream for e in log.read_all(types=("session.opened",)))
        intended, asked, cycles = (
            places(log, stream, of) for of in ("execute.intended", "reason.requested", "session.cycle_opened")
        )
        sent = next(e.event for e in log.read_all(types=("execute.dispatched",)))
    spans = opened(file)
    resets = [(one.trace, one.parent) for one in spans if one.name == "reset"]
    acts = [(one.trace, one.parent) for one in spans if one.name not in ("made", "reset")]
    assert told == [f"00-{trace:032x}-{span:016x}-01" for trace, span in asked]
    if what == "world":
        assert resets == cycles[:1]
        assert acts == intended
    else:
        assert sorted(acts) == sorted(intended[:2])
    assert isinstance(sent, execute.Dispatched)
    # The command itself makes a world too, to look at its spaces.
    assert {str(one.pid) for one in spans if one.name != "made"} == {sent.executor.rpartition("/")[2]}
