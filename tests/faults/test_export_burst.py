"""A burst that comes faster than a collector takes it: it waits on the log, and none of it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.settings import Settings, Telemetry
from runtime.telemetry.following import Following, makers
from telemetry.log import EventLog
from telemetry.otel.export.follower import Lag
from tests.collector import Manner
from tests.collectors import collector_process
from tests.contract.stores import STORES, fill
from tests.exporting import events_received, spans_of_log, spans_received

BURST = 20_000


@pytest.fixture(params=STORES)
def log(request: pytest.FixtureRequest) -> Iterator[EventLog]:
    store = STORES[request.param](request)
    yield store.open()
    store.close()


@pytest.mark.parametrize("delay_s", [pytest.param(0.02, marks=pytest.mark.slow), 0.25])
def test_a_burst_of_twenty_thousand_events_is_whole_at_a_slow_collector(
    log: EventLog, tmp_path: Path, delay_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.telemetry.following.LAST_S", 250.0)  # a busy machine sends late
    with collector_process() as collector:
        collector.behave(Manner(delay_s=delay_s))
        telemetry = Telemetry(otlp=collector.url, interval_s=0)
        with closing(Following(log.url, makers(Settings(home=tmp_path, telemetry=telemetry)))) as following:
            for number in range(20):
                fill(log, f"session/s{number}", BURST // 1000, each=50)
            assert dict(following.finish()) == {collector.url: Lag(0, 0.0)}
        assert events_received(collector.records) == {event.id: 1 for event in log.read_all()}
        assert spans_received(collector.spans) == spans_of_log(log)
        assert log.position() == BURST
