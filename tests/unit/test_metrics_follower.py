"""What follows a log for its metrics: what it counts, what it says of others, and what a next one goes on with."""

from __future__ import annotations

import socket
import threading
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from runtime.settings import Settings
from runtime.telemetry.cursors import cursor_of
from runtime.telemetry.metrics import MetricsFollower, counted, kept
from telemetry.log import EventLog, open_log
from telemetry.otel import names
from telemetry.otel.export.account import Account
from telemetry.otel.measures.standing import Standing
from tests.contract.stores import fill


def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, prometheus_port=0)


def follower(log: EventLog, tmp_path: Path, *, exporters: str = "prometheus") -> MetricsFollower:
    return MetricsFollower(log, settings(tmp_path), exporters=exporters, said=pytest.fail)


def scraped(one: MetricsFollower) -> dict[str, float]:
    """By a line's name and labels."""
    assert one.url is not None
    with urllib.request.urlopen(one.url, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_every_step_counts_a_batch_and_says_whether_more_is_there(log: EventLog, tmp_path: Path) -> None:
    fill(log, "session/a", 1_300)
    with follower(log, tmp_path, exporters="none") as one:
        assert one.position == 512
        assert one.step(wait_s=0)
        assert not one.step(wait_s=0)
        assert one.position == 1_300
        assert not one.step(wait_s=0)
        assert one.url is None


def test_what_is_served_says_how_far_it_is_and_how_far_others_are(log: EventLog, tmp_path: Path) -> None:
    fill(log, "session/a", 10)
    with cursor_of(log, "billing", settings(tmp_path)) as cursor:
        cursor.move(4)
    with follower(log, tmp_path) as one:
        found = scraped(one)
        assert found["aetherloop_log_position"] == 10
        assert found["aetherloop_log_append_duration_seconds_count"] == 10, (
            "each of its own, and this process made them"
        )
        assert found['aetherloop_export_lag{aetherloop_follower="metrics"}'] == 0
        assert found['aetherloop_export_lag{aetherloop_follower="billing"}'] == 6
        assert found['aetherloop_export_delay_seconds{aetherloop_follower="billing"}'] > 0
        fill(log, "session/b", 5)
        assert scraped(one)['aetherloop_export_lag{aetherloop_follower="metrics"}'] == 5
        one.step(wait_s=0)
        assert scraped(one)['aetherloop_export_lag{aetherloop_follower="metrics"}'] == 0


def test_what_a_follower_accounts_for_is_served_beside_its_lag(log: EventLog, tmp_path: Path) -> None:
    fill(log, "session/a", 10)
    account = Account(log, begins_at=0)
    account.handed([1, 2, 4])
    account.set_aside([5])
    account.moved(6)
    others = [Standing("collector", 4, 0.5, account.so_far), Standing("tables", 0, 0.0)]
    with MetricsFollower(
        log, settings(tmp_path), exporters="prometheus", said=pytest.fail, others=lambda: others
    ) as one:
        found = scraped(one)
    assert found['aetherloop_export_lost_total{aetherloop_follower="collector"}'] == 2  # 3 and 6
    assert found['aetherloop_export_handed_on_total{aetherloop_follower="collector"}'] == 3
    assert found['aetherloop_export_set_aside_total{aetherloop_follower="collector"}'] == 1
    assert 'aetherloop_export_lost_total{aetherloop_follower="tables"}' not in found, "it keeps no account"


def test_who_comes_after_goes_on_with_the_same_series(log: EventLog, tmp_path: Path) -> None:
    served = []
    for number in range(3):
        fill(log, f"session/{number}", 10)
        with follower(log, tmp_path) as one:
            served.append({name: value for name, value in scraped(one).items() if "events_total" in name})
    assert [sum(each.values()) for each in served] == [10, 20, 30]
    totals, position = counted(log)
    assert position == 30
    assert sum(totals.numbers[names.EVENT_COUNT.name].values()) == 30
    first = next(log.read_all())
    assert totals.began == first.at, "a series begins with the log's first event, whoever counts it"


def test_a_follower_that_waits_for_news_stops_when_it_is_told(log: EventLog, tmp_path: Path) -> None:
    with follower(log, tmp_path, exporters="none") as one:
        timer = threading.Timer(0.05, one.stop)
        timer.start()
        while one.step(wait_s=600):
            pass
        assert not one.step(wait_s=600)
        timer.join()


def test_cursors_of_another_log_and_files_that_are_none_are_left_out(log: EventLog, tmp_path: Path) -> None:
    fill(log, "session/a", 3)
    with cursor_of(log, "mine", settings(tmp_path)) as cursor:
        cursor.move(1)
    folder = Path(f"{log.url}.cursors")
    (folder / "others.json").write_text('{"log": "another", "position": 1}')
    (folder / "torn.json").write_text('{"log"')
    assert [(one.follower, one.lag) for one in kept(log, settings(tmp_path))] == [("mine", 2)]


def test_a_log_that_cannot_be_read_now_ends_no_reader_of_metrics(log: EventLog, tmp_path: Path) -> None:
    fill(log, "session/a", 10)
    said: list[str] = []
    with (
        closing(open_log(log.url, mode="read")) as other,
        MetricsFollower(other, settings(tmp_path), exporters="prometheus", said=said.append) as one,
    ):
        before = scraped(one)
        other.close()
        found = scraped(one)
        lag = 'aetherloop_export_lag{aetherloop_follower="metrics"}'
        assert found[lag] == before[lag] == 0
        assert found.keys() == before.keys()
    assert said == []


def test_what_keeps_metrics_from_going_out_is_said_and_stays_with_the_lag(log: EventLog, tmp_path: Path) -> None:
    said: list[str] = []
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        busy = Settings(home=tmp_path, prometheus_host="localhost", prometheus_port=port)
        with MetricsFollower(log, busy, exporters="prometheus", said=said.append) as one:
            assert f"localhost:{port} cannot be had" in one.lag().why
            assert said == [one.lag().why]
