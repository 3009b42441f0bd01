"""Every scenario in examples/ runs, its sessions replay to their state, and the heart holds back where it should."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from examples.refund.endpoint import MODEL, running
from telemetry.events import execute, feel, reason
from telemetry.events.values import Move
from telemetry.log import open_log
from tests.aether import ROOT, Aether

EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
CYCLES = "12"
FORWARD = 2
"""MiniGrid's action that walks into what lies ahead."""


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_session_of_an_example_replays_to_its_state(attached: Aether, file: Path) -> None:
    _check_replay(attached, file, "--cycles", CYCLES)


@pytest.mark.slow
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_session_of_a_whole_example_replays_to_its_state(attached: Aether, file: Path) -> None:
    _check_replay(attached, file)


def test_in_lava_the_heart_holds_back_and_an_alternative_is_taken(attached: Aether) -> None:
    ran = attached("run", "examples/lava.toml", "--cycles", "60", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["summary"]["inhibitions"] > 0
    counts = Counter[str]()
    with closing(open_log(attached.log, mode="read")) as log:
        for row in ran.rows:
            held: set[int] = set()
            for recorded in log.read(f"session/{row['session']}"):
                match recorded.event:
                    case feel.Inhibited():
                        held.add(recorded.cycle)
                        counts["inhibited"] += 1
                    case feel.AlternativeOffered():
                        counts["offered"] += 1
                    case reason.Decided(action=Move(to=to)) if recorded.cycle in held:
                        assert to != FORWARD, f"{recorded.id} walks into lava"
                        counts["decided otherwise"] += 1
                    case execute.Succeeded() if recorded.cycle in held:
                        counts["done otherwise"] += 1
    assert counts["inhibited"] > 0
    assert counts["offered"] > 0
    assert counts["decided otherwise"] == counts["done otherwise"] > 0


def _check_replay(aether: Aether, file: Path, *more: str) -> None:
    if 'kind = "trained"' in file.read_text(encoding="utf-8"):
        assert aether("run", "examples/maze.toml", "--sessions", "12").code == 0
        assert aether("train", "world-model", "maze", "--scenario", "maze").code == 0
    with running() as endpoint:
        env = {"OPENAI_BASE_URL": endpoint.url, "AETHER_MODEL": MODEL}
        ran = aether("run", str(file.relative_to(ROOT)), *more, "--json", timeout_s=300, env=env)
    assert ran.code == 0, ran.err
    assert ran.rows
    for row in ran.rows:
        (replayed,) = aether("replay", row["session"], "--json").rows
        assert replayed["agrees"]
        assert (replayed["state_hash"], replayed["version"]) == (row["state_hash"], row["version"])
        assert replayed["unknown"] == replayed["not_comparable"] == 0
    assert aether("log", "verify").code == 0
