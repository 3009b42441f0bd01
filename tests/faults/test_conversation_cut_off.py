"""A conversation that is cut off anywhere and resumed: what it did in the world, it did once, or it says that it
does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.replay import replay
from telemetry.events import execute
from tests import till
from tests.errands import ERRANDS, SCENARIO, policy
from tests.local import Cut, Cutter, Local
from tests.model_server import ModelServer


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.always = policy
        yield running


def moments(local: Local, text: str) -> dict[str, int]:
    """How often an undisturbed session commits and calls a phase, counted twice: before and after."""
    commits, phases = Cutter(), Cutter()
    assert local.run("undisturbed", text, commits=commits, calls=phases).outcome == "done"
    return {"commits": commits.seen, "calls": phases.seen}


def run_cut(local: Local, name: str, text: str, kind: str, moment: int) -> None:
    cut = {kind: Cutter(at=moment)}
    with pytest.raises(Cut):
        local.run(name, text, commits=cut.get("commits"), calls=cut.get("calls"))
    row = local.run(name, text)
    assert (row.status, row.outcome) == ("closed", "done"), (name, row)
    assert replay(local.log, name).agrees


@pytest.mark.parametrize("errand", ["pay twice", "ship", "book"])
def test_an_effect_that_can_be_settled_happens_exactly_once_wherever_the_session_is_cut(
    local: Local, server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errand: str
) -> None:
    text = SCENARIO.format(url=server.url, errand=errand)
    monkeypatch.setenv("TILL", str(tmp_path / "undisturbed"))
    for kind, many in moments(local, text).items():
        for moment in range(1, many + 1):
            name = f"{errand.replace(' ', '-')}-{kind}-{moment}"
            monkeypatch.setenv("TILL", str(tmp_path / name))
            run_cut(local, name, text, kind, moment)
            done = Counter(line.rpartition(" ")[0] for line in till.ledger())
            assert done == Counter({f"{errand.split()[0]} {next(iter(a.values()))}": 1 for a in ERRANDS[errand]}), name


def test_an_effect_that_cannot_be_settled_is_never_repeated_and_never_made_up(
    local: Local, server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SCENARIO.format(url=server.url, errand="post")
    monkeypatch.setenv("TILL", str(tmp_path / "undisturbed"))
    unknown = 0
    for kind, many in moments(local, text).items():
        for moment in range(1, many + 1):
            name = f"post-{kind}-{moment}"
            monkeypatch.setenv("TILL", str(tmp_path / name))
            run_cut(local, name, text, kind, moment)
            (outcome,) = (
                r.event
                for r in local.events(name, "execute.succeeded", "execute.unknown", "execute.failed")
                if isinstance(r.event, execute.UnknownOutcome) or getattr(r.event, "result", None) is not None
            )
            happened = len(till.ledger())
            assert happened <= 1, name
            assert isinstance(outcome, execute.UnknownOutcome) or happened == 1, name
            unknown += isinstance(outcome, execute.UnknownOutcome)
    assert unknown, "no cut fell between dispatch and answer"
