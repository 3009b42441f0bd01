"""Metrics of a log while it is followed: what its events come to, how far its followers are, and where that goes.

Knows the projection of metrics and the process' exporters. Invariant: what goes out are totals over the whole log, so
whoever goes on after a kill goes on with the same series."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from opentelemetry.metrics import CallbackOptions, Observation

from runtime.settings import Settings
from runtime.telemetry.cursors import cursors_of
from telemetry.errors import LogError
from telemetry.log import EventLog
from telemetry.log.latency import Latencies
from telemetry.log.projection.cursor import kept_places
from telemetry.log.projection.project import Projected
from telemetry.otel import names
from telemetry.otel.export.follower import Lag, lag_of
from telemetry.otel.measures.fold import Measures, totals_of
from telemetry.otel.measures.standing import Standing, series_of, spread_of
from telemetry.otel.measures.totals import VALUES_KEPT, Totals
from telemetry.otel.metrics import Said, providing

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.metrics.export import Metric

PACE_S: Final = 1.0
"""How long news may gather before it is counted: a transaction a second, however many events there are."""

Standings = Callable[[], Iterable[Standing]]


class MetricsFollower:
    """Follows `log` and hands metrics to `exporters`; `others` tell how far other followers are, which at first are the
    cursors that are kept of the log, and `appends` how long those took that write it, which at first is this process.
    For one thread, but `stop`."""

    name = "metrics"

    def __init__(
        self,
        log: EventLog,
        settings: Settings,
        *,
        exporters: str,
        said: Said,
        others: Standings | None = None,
        appends: Callable[[], Latencies] | None = None,
    ) -> None:
        self._log, self._settings = log, settings
        self._exporters, self._said = exporters, said
        self._why = ""
        self._others = others or (lambda: kept(log, settings))
        self._appends = appends or log.latencies
        self._stopped = threading.Event()
        self._behind = True
        self._totals = Totals()
        self._standings: tuple[Standing, ...] = ()
        self.position = 0
        """Everything up to there counts."""
        self.by: tuple[str, ...] = ()
        """The exporters that it goes out by."""
        self.url: str | None = None
        """Where Prometheus finds it, if it is served."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._projected = stack.enter_context(Projected(self._log, Measures()))
            self._projected.advance()
            self._look()
            provided = stack.enter_context(
                providing(
                    self._exporters,
                    said=self._complain,
                    endpoint=self._settings.prometheus,
                    protocol=self._settings.metrics_protocol,
                    elsewhere=self.metrics,
                )
            )
            if provided is not None:
                self.by, self.url = provided.by, provided.url
                measure_log(provided.provider.get_meter(names.METER), self._log)
            self._around = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._around.close()

    def step(self, *, wait_s: float) -> bool:
        """Counts a batch of what is new, after it had time to gather. Whether more is there."""
        if not self._behind:
            self._stopped.wait(min(wait_s, PACE_S))
        if self._stopped.is_set():
            return False
        self._behind = self._projected.advance()
        self._look()
        return self._behind

    def stop(self) -> None:
        self._stopped.set()

    def lag(self) -> Lag:
        return lag_of(self._log, self.position, why=self._why)

    def metrics(self) -> Sequence[Metric]:
        """As OpenTelemetry has them. From any thread. While the log cannot be read, followers stand as they last stood:
        an error would end the reader whose thread this is."""
        with suppress(LogError):
            self._standings = (standing(self._log, self.name, self.position), *self._others())
        return metrics_now(self._totals, self._standings, appends=self._appends())

    def _complain(self, text: str) -> None:
        """It stays with the lag: an exporter that is heard of no more may be well again or may not."""
        self._why = text
        self._said(text)

    def _look(self) -> None:
        """Takes what counts by now, for whoever reads it meanwhile."""
        with self._projected.rows() as (position, rows):
            self._totals, self.position = totals_of(rows), position


def metrics_now(totals: Totals, standings: Iterable[Standing], *, appends: Latencies | None = None) -> list[Metric]:
    from telemetry.otel.measures.points import metrics_of

    watched = [*series_of(standings), *(() if appends is None or not appends.total_s else (spread_of(appends),))]
    now = time.time_ns()
    return [
        *metrics_of(totals.series(), began=totals.began, now=now),
        *metrics_of(watched, began=_STARTED, now=now),
    ]


_STARTED: Final = time.time_ns()
"""What is watched, and not counted from events, begins with the process."""


def kept(log: EventLog, settings: Settings) -> Iterator[Standing]:
    """How far behind the log's end the cursors are that are kept of it: the first by name, as many as may be series."""
    for name, position in islice(kept_places(cursors_of(log, settings), log.id).items(), VALUES_KEPT):
        yield standing(log, name, position)


def standing(log: EventLog, name: str, position: int) -> Standing:
    """Of a follower that is done with everything up to `position`."""
    lag = lag_of(log, position)
    return Standing(name, lag.events, lag.seconds)


def measure_log(meter: Meter, log: EventLog) -> None:
    """Has `meter` read where the log ends, or ended when it could last be read."""
    known = log.position()

    def look(_: CallbackOptions) -> Iterator[Observation]:
        nonlocal known
        with suppress(LogError):
            known = log.position()
        yield Observation(known)

    at = names.POSITION
    meter.create_observable_gauge(at.name, [look], at.unit, at.description)


def counted(log: EventLog) -> tuple[Totals, int]:
    """What the log comes to as of now, and up to which position."""
    with Projected(log, Measures()) as projected:
        projected.catch_up()
        with projected.rows() as (position, rows):
            return totals_of(rows), position
