"""Questions about a log are answered alike, whatever keeps it."""

from __future__ import annotations

from pathlib import Path

from telemetry.log import EventLog
from telemetry.query.engine import Engine
from telemetry.query.traces.writer import Traces
from tests.in_turns import fill_in_turns


def test_from_the_log_and_from_parquet_that_lags_the_answer_is_the_same(log: EventLog, tmp_path: Path) -> None:
    fill_in_turns(log, ("maze",))
    with Traces(log, tmp_path / "traces") as traces:
        traces.drain(to=log.position())
    end = fill_in_turns(log, ("lava",))
    whole = "SELECT stream, sum(reward) AS reward, max(position) AS last FROM actions GROUP BY ALL ORDER BY ALL"
    one = "SELECT event, recorded_at, payload FROM events WHERE session = $session ORDER BY version"
    for as_of in (end, 100, 20):
        with Engine(log, as_of=as_of) as alone, Engine(log, traces=str(tmp_path / "traces"), as_of=as_of) as both:
            assert alone.ask(whole).read() == both.ask(whole).read()
            for session in ("maze", "lava"):
                asked = {"session": session}
                assert alone.ask(one, asked).read() == both.ask(one, asked).read()
