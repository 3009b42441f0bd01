"""`aether session effects` and `reconcile` on the log of a session whose process died between a call and its answer."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import open_log
from tests.aether import Aether
from tests.local import Local
from tests.model_server import ModelServer
from tests.unit.test_effects import SCENARIO, doubtful


@pytest.fixture
def doubted(aether: Aether, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The first digits of the effect of the session `s` that nobody knows about."""
    monkeypatch.setenv("TILL", str(tmp_path / "till"))
    with ModelServer() as server, closing(open_log(aether.log)) as log:
        local = Local(log)
        row = doubtful(local, server, SCENARIO.format(url=server.url))
        local.close()
    return row.effect[:12]


def test_an_unknown_effect_is_shown_listed_and_settled_once(aether: Aether, doubted: str) -> None:
    assert "Unknown effects: 1. Next: aether session effects s" in aether("session", "show", "s").out
    for arguments in (("s",), ()):
        (row,) = aether("session", "effects", *arguments, "--json").rows
        assert (row["effect"][:12], row["what"], row["class"], row["stands"]) == (
            doubted,
            'post(text="hello")',
            "unsafe",
            "unknown",
        )
    listed = aether("session", "effects", "s")
    assert doubted in listed.out
    assert f"Next: aether session reconcile s {doubted} --happened" in listed.err
    settling = ("session", "reconcile", "s", doubted, "--happened", "--why", "it lies in the box", "--result", "3")
    settled = aether(*settling)
    assert settled.code == 0, settled.err
    assert settled.out.startswith("happened, says ")
    assert aether(*settling).out == settled.out, "the same again is the first"
    assert aether("session", "effects", "s").out == "No effect is unknown.\n"
    (row,) = aether("session", "effects", "s", "--all", "--json").rows
    assert (row["stands"], row["event"]) == ("happened", settled.out.split()[-1])


def test_a_settlement_that_cannot_be_meant_says_why_and_ends_with_its_code(aether: Aether, doubted: str) -> None:
    assert aether("session", "reconcile", "s", doubted).code == 2, "one of the two must be said"
    wrong = "000000" if not doubted.startswith("000000") else "111111"
    missing = aether("session", "reconcile", "s", wrong, "--happened")
    assert (missing.code, doubted in missing.err) == (3, True)
    assert aether("session", "reconcile", "s", doubted, "--did-not-happen", "--json").code == 0
    other = aether("session", "reconcile", "s", doubted, "--happened", "--json")
    assert (other.code, other.json["error"]["type"]) == (2, "UsageError")
    assert "it did not happen, says" in other.json["error"]["message"]
    assert aether("session", "effects", "--all").code == 2
