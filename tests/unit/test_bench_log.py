"""What the log's benchmark calls a step, and how it counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.steps import CYCLE, PAYLOAD_BYTES
from benchmarks.steps_ours import step, taken
from telemetry.events.values import canonical
from telemetry.log import open_log


@pytest.mark.parametrize("number", [0, 7, 100_000])
def test_the_stored_payload_of_a_step_is_as_long_as_its_definition_says(number: int) -> None:
    assert len(canonical(step(number))) == PAYLOAD_BYTES


@pytest.mark.parametrize(("way", "commits"), [("cycle", 2), ("commit", 12)])
def test_a_session_of_steps_is_cycles_with_their_frame_and_commits_as_its_way_says(
    tmp_path: Path, way: str, commits: int
) -> None:
    with closing(open_log(str(tmp_path / "log.db"))) as log:
        asyncio.run(taken(log, "session/a", 2 * CYCLE, "commit" if way == "commit" else "cycle"))
        written = list(log.read("session/a"))
        assert Counter(event.type for event in written) == {
            "session.cycle_opened": 2,
            "sense.observed": 2 * CYCLE,
            "session.cycle_closed": 2,
        }
        assert {len(event.payload) for event in written if event.type == "sense.observed"} == {PAYLOAD_BYTES}
        assert len({event.at for event in written}) == commits
        assert not log.verify().problems
