"""What follows a log beside its sessions: each by itself, made anew when it failed, and out before the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runtime.settings import Settings, Telemetry
from runtime.telemetry.exporting import Target, exporting
from runtime.telemetry.following import Following, Maker, makers
from telemetry.errors import CursorHeld, LogUnreachable, LogUnwritable
from telemetry.log import EventLog
from telemetry.otel.export.account import Accounted
from telemetry.otel.export.answers import Answer, Taken
from telemetry.otel.export.exporter import Exporter, Passing, What
from telemetry.otel.export.follower import Follower, Lag
from telemetry.otel.export.refused import RefusedFile
from telemetry.otel.measures.standing import Standing
from tests.aether import wait_until
from tests.collector import Collector, Manner, collecting, records_of
from tests.contract.stores import fill
from tests.exporting import events_received


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def settings(tmp_path: Path, **telemetry: object) -> Settings:
    return Settings.model_validate({"home": tmp_path, "telemetry": {"interval_s": 0, **telemetry}})


def lags(following: Following) -> dict[str, Lag]:
    return dict(following.lags())


def test_what_comes_while_it_follows_is_out_before_it_ends(log: EventLog, tmp_path: Path, collector: Collector) -> None:
    with closing(Following(log.url, makers(settings(tmp_path, otlp=collector.url)))) as following:
        for number in range(5):
            fill(log, f"session/s{number}", 10)
        assert dict(following.finish()) == {collector.url: Lag(0, 0.0)}
    assert len(events_received(records_of(collector.requests))) == 50


def test_a_collector_that_takes_nothing_keeps_no_other_from_its_work(
    log: EventLog, tmp_path: Path, collector: Collector
) -> None:
    collector.manner = Manner(status=503)
    wanted = settings(tmp_path, otlp=collector.url, file=tmp_path / "out")
    fill(log, "session/a", 10)
    with closing(Following(log.url, makers(wanted))) as following:
        left = dict(following.finish())
    assert left[collector.url].events == 10
    assert left[collector.url].why.startswith("503")
    assert left[str(tmp_path / "out")] == Lag(0, 0.0)
    assert (tmp_path / "out" / "logs.jsonl").read_bytes()


class Fails:
    """A follower that fails so often, and then is done. `unread`: why it cannot say how far behind it is."""

    name = "fails"

    def __init__(self, errors: list[Exception], lag: Lag, unread: list[Exception]) -> None:
        self._errors = errors
        self._lag = lag
        self._unread = unread

    def step(self, *, wait_s: float) -> bool:
        if self._errors:
            raise self._errors.pop()
        return False

    def stop(self) -> None:
        pass

    def lag(self) -> Lag:
        if self._unread:
            raise self._unread[0]
        return self._lag


def failing(
    errors: list[Exception],
    *,
    lag: Lag = Lag(0, 0.0),
    unread: list[Exception] | None = None,
    ends: Callable[[], object] = lambda: None,
) -> Maker:
    """Such a follower; `ends` is what it does as it is left."""

    @contextmanager
    def make(log: EventLog, _: Callable[[str], None]) -> Iterator[Follower]:
        try:
            yield Fails(errors, lag, [] if unread is None else unread)
        finally:
            ends()

    return Maker("fails", make, "fails")


def test_one_that_fails_is_made_anew_whatever_it_was(log: EventLog) -> None:
    errors: list[Exception] = [LogUnwritable("no room"), ZeroDivisionError("a mistake of ours"), CursorHeld("held")]
    with closing(Following(log.url, [failing(errors)])) as following:
        wait_until(lambda: not errors, timeout_s=30, what="three failures")
        wait_until(lambda: lags(following) == {"fails": Lag(0, 0.0)}, timeout_s=30, what="it goes on")


def test_one_that_failed_is_not_taken_for_done_while_it_ends(log: EventLog) -> None:
    leaving, may = threading.Event(), threading.Event()

    def end() -> None:
        leaving.set()
        assert may.wait(60)

    with closing(Following(log.url, [failing([LogUnwritable("no room")], lag=Lag(3, 0.0), ends=end)])) as following:
        assert leaving.wait(60)
        assert lags(following) == {"fails": Lag(3, 0.0)}
        may.set()


def test_who_cannot_read_the_log_now_says_so_and_is_as_far_as_it_was(log: EventLog) -> None:
    unread: list[Exception] = []
    with closing(Following(log.url, [failing([], unread=unread)])) as following:
        wait_until(lambda: lags(following) == {"fails": Lag(0, 0.0)}, timeout_s=30, what="it follows")
        unread.append(LogUnreachable("the server is away"))
        assert lags(following) == {"fails": Lag(0, 0.0, "the server is away")}
        assert following.standings() == [Standing("fails", 0, 0.0, Accounted())]
        assert dict(following.finish()) == {"fails": Lag(0, 0.0, "the server is away")}
    assert following.standings() == [Standing("fails", 0, 0.0, Accounted())]


class Late:
    """A sink that takes what it is asked to once it may."""

    name = "late"

    def __init__(self) -> None:
        self.asked, self.may = threading.Event(), threading.Event()

    def spans(self, spans: object) -> Answer:
        self.asked.set()
        assert self.may.wait(60)
        return Taken()

    records = spans

    def close(self) -> None:
        pass


class OneStep(Exporter):
    """An exporter that is told to end with its first request under way."""

    begun = False

    def step(self, *, wait_s: float) -> bool:
        begun, self.begun = self.begun, True
        return self._stop.wait(wait_s) if begun else super().step(wait_s=wait_s)


def test_what_was_under_way_in_the_end_is_accounted_for(log: EventLog, tmp_path: Path) -> None:
    sink, refused = Late(), RefusedFile(tmp_path / "none")

    @contextmanager
    def make(store: EventLog, said: Callable[[str], None]) -> Iterator[Follower]:
        with OneStep(store, Passing(), sink, What(record="digest"), refused=refused) as exporter:
            try:
                yield exporter
            finally:
                sink.may.set()
                wait_until(lambda: exporter.position == 3, timeout_s=30, what="the request that was under way")

    fill(log, "session/a", 3)
    following = Following(log.url, [Maker("late", make, "late")])
    assert sink.asked.wait(60)
    following.close()
    assert following.standings() == [Standing("late", 0, 0.0, Accounted(handed_on=3))]


def test_what_goes_wrong_in_the_end_is_said_in_the_end(log: EventLog) -> None:
    def end() -> None:
        raise LogUnwritable("no room")

    with closing(Following(log.url, [failing([], ends=end)])) as following:
        assert dict(following.finish()) == {"fails": Lag(0, 0.0, "no room")}


def test_what_another_process_does_is_no_trouble(log: EventLog, tmp_path: Path, collector: Collector) -> None:
    fill(log, "session/a", 10)
    wanted = makers(settings(tmp_path, otlp=collector.url))
    with closing(Following(log.url, wanted)) as first:
        wait_until(lambda: len(collector.requests) > 0, timeout_s=30, what="the first one")
        with closing(Following(log.url, wanted)) as second:
            assert dict(second.finish()) == {collector.url: Lag(0, 0.0)}
        assert dict(first.finish()) == {collector.url: Lag(0, 0.0)}
    assert events_received(records_of(collector.requests)) == {event.id: 1 for event in log.read_all()}


def test_without_a_word_in_the_settings_nothing_follows(tmp_path: Path) -> None:
    assert makers(Settings(home=tmp_path)) == []
    assert len(makers(Settings(home=tmp_path, telemetry=Telemetry(otlp="grpc://a:1", file=Path("out"))))) == 2


def test_what_an_exporter_accounted_for_stays_when_another_takes_its_place(
    log: EventLog, tmp_path: Path, collector: Collector
) -> None:
    wanted = settings(tmp_path, otlp=collector.url)
    target = Target("otlp", collector.url)

    @contextmanager
    def short_of_patience(store: EventLog, said: Callable[[str], None]) -> Iterator[Follower]:
        with exporting(store, target, wanted, patience_s=0.05, troubled=said) as exporter:
            yield exporter

    fill(log, "session/a", 10)
    with closing(Following(log.url, [Maker("it", short_of_patience, "it")])) as following:
        wait_until(lambda: [one.lag for one in following.standings()] == [0], timeout_s=30, what="the first events out")
        collector.manner = Manner(status=503)
        fill(log, "session/b", 5)
        wait_until(lambda: "503" in lags(following)["it"].why, timeout_s=30, what="an end of its patience")
        collector.manner = Manner()
        following.finish()
    assert following.standings() == [Standing("it", 0, 0.0, Accounted(handed_on=15))]
