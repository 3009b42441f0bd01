"""Rows and traces follow from a log whatever keeps it."""

from __future__ import annotations

from pathlib import Path

from telemetry.log import EventLog
from telemetry.query.traces.place import place_of
from telemetry.query.traces.writer import Traces
from tests.in_turns import SESSIONS, closings, fill_in_turns, forked
from tests.kept_rows import assert_kept


def test_traces_go_on_where_they_were_left_in_the_middle_of_a_cycle(log: EventLog, tmp_path: Path) -> None:
    place = place_of(tmp_path / "traces")
    for name in SESSIONS:
        fill_in_turns(log, (name,))
        with Traces(log, tmp_path / "traces") as traces:
            traces.drain(to=log.position())
        assert assert_kept(place, log) == log.position()
    forked(log, "maze", "maze-again", at_version=list(closings("maze"))[1])
    with Traces(log, tmp_path / "traces", interval_s=0.0) as traces:
        while traces.step(wait_s=0):
            pass
        assert traces.position == log.position()
    assert_kept(place, log)
