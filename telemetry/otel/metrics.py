"""Metrics: what trainings measure, on the global meter, and how a process hands what it measures out.

Knows OpenTelemetry's API, and its SDK only while something is exported; knows no model and no log. Invariant: where
nobody exports, measuring costs next to nothing and loads no SDK; a collector that does not answer ends no command."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from opentelemetry import metrics

from telemetry.otel import names
from telemetry.otel.resource import resource

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader

    from telemetry.otel.readers import Elsewhere

EXPORTERS: Final = ("none", "console", "otlp", "prometheus")
"""What OTEL_METRICS_EXPORTER may name here, one or several with commas between."""

LAST_EXPORT_MS: Final = 5_000
"""What the last export may take at the end of a command; a collector that is there answers in milliseconds."""

Said = Callable[[str], None]


class TrainingMeter:
    """What one training measures. Its attributes are the model's name and kind: a series is the history of a name."""

    def __init__(self, *, model: str, kind: str, workers: int, meter: Meter | None = None) -> None:
        """Without `meter` on the process' global one."""
        self._about = {names.MODEL_NAME: model, names.MODEL_KIND: kind}
        self._steps_before = 0
        on = meter or metrics.get_meter(names.METER)
        gauge, counter = on.create_gauge, on.create_counter
        self._loss, self._term, self._held_out = (
            gauge(one.name, one.unit, one.description) for one in (names.LOSS, names.LOSS_TERM, names.HELD_OUT)
        )
        self._over_copy, self._over_linear = (
            gauge(one.name, one.unit, one.description) for one in (names.OVER_COPY, names.OVER_LINEAR)
        )
        self._steps = counter(names.STEPS.name, names.STEPS.unit, names.STEPS.description)
        self._duration = on.create_histogram(names.DURATION.name, names.DURATION.unit, names.DURATION.description)
        gauge(names.WORKERS.name, names.WORKERS.unit, names.WORKERS.description).set(workers, self._about)

    def looked(self, *, loss: float, parts: Mapping[str, float], held_out: float) -> None:
        """A look at held-out sessions."""
        self._loss.set(loss, self._about)
        for part, value in parts.items():
            self._term.set(value, {**self._about, names.LOSS_PART: part})
        self._held_out.set(held_out, self._about)

    def stepped(self, steps: int) -> None:
        """So many steps are done by now; fewer than before, after a worker was lost, count for nothing."""
        self._steps.add(max(0, steps - self._steps_before), self._about)
        self._steps_before = max(steps, self._steps_before)

    def ended(self, figures: Mapping[str, float], *, seconds: float, error: str | None = None) -> None:
        """It is over; `error`: the class of what ended it before its time."""
        for gauge, name in ((self._over_copy, "error_over_copy"), (self._over_linear, "error_over_linear")):
            if name in figures:
                gauge.set(figures[name], self._about)
        self._duration.record(seconds, {**self._about, **({} if error is None else {names.ERROR_TYPE: error})})


Endpoint: TypeAlias = tuple[str, int]
"""Host and port that Prometheus finds metrics at."""
HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
"""What OTEL_EXPORTER_OTLP_PROTOCOL may name here."""
LOOPBACK: Final[Endpoint] = ("localhost", 9464)
"""What OTEL_EXPORTER_PROMETHEUS_HOST and _PORT are where nobody sets them."""


def beside(endpoint: Endpoint) -> Endpoint:
    """For a second process where another has that one: the port after it. Port 0 is any, and so is the one after it."""
    host, port = endpoint
    return host, port and min(port + 1, 65_535)


class Providing(NamedTuple):
    provider: MeterProvider
    by: tuple[str, ...]
    """The exporters that it goes out by."""
    url: str | None
    """Where Prometheus finds it, if it is served."""


@contextmanager
def exporting(exporters: str, *, said: Said, endpoint: Endpoint = LOOPBACK, protocol: str = HTTP) -> Iterator[None]:
    """Until its end, and once more there, this process' metrics go to `exporters`, by the standard OTEL_ variables.

    For whoever owns the process, once: the global provider cannot be taken back. What cannot be exported to, or did not
    answer, is told to `said`, each of it once."""
    with providing(exporters, said=said, endpoint=endpoint, protocol=protocol) as provided:
        if provided is not None:
            metrics.set_meter_provider(provided.provider)
        yield


@contextmanager
def providing(
    exporters: str,
    *,
    said: Said,
    endpoint: Endpoint = LOOPBACK,
    protocol: str = HTTP,
    elsewhere: Elsewhere = lambda: (),
) -> Iterator[Providing | None]:
    """The same for a provider of its own, beside whose instruments the metrics of `elsewhere` go out: nothing of those
    as long as it has no instrument that measured. None where nobody is to have any."""
    by = wanted(exporters, said)
    if not by:
        yield None
        return
    from opentelemetry.sdk.metrics import MeterProvider

    from telemetry.otel.readers import Served

    with _complaints(said):
        found = {name: _reader(name, said, endpoint, protocol, elsewhere) for name in by}
        readers = {name: reader for name, reader in found.items() if reader is not None}
        provider = MeterProvider(metric_readers=[*readers.values()], resource=resource(), shutdown_on_exit=False)
        try:
            url = next((reader.url for reader in readers.values() if isinstance(reader, Served)), None)
            yield Providing(provider, tuple(readers), url)
        finally:
            provider.shutdown(timeout_millis=LAST_EXPORT_MS)


def wanted(exporters: str, said: Said) -> list[str]:
    """Those of `exporters` that there are, but none; the others are told."""
    found = dict.fromkeys(name for part in exporters.split(",") if (name := part.strip().lower()))
    for name in found.keys() - set(EXPORTERS):
        said(f"metrics do not go out by {name!r}, only by {', '.join(EXPORTERS[1:])}")
    return [name for name in found if name in EXPORTERS[1:]]


def _reader(name: str, said: Said, endpoint: Endpoint, protocol: str, elsewhere: Elsewhere) -> MetricReader | None:
    """None where the variables of the exporter cannot be meant or its address is taken, which is said."""
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

    from telemetry.otel.readers import Pushing, Served

    try:
        if name == "console":
            return Pushing(ConsoleMetricExporter(out=sys.stderr), elsewhere)  # stdout is for data
        if name == "prometheus":
            return Served(*endpoint, elsewhere)
        return Pushing(_otlp(protocol), elsewhere)
    except ValueError as error:
        said(f"no metrics go out by {name}: {error}")
    except OSError as error:
        said(
            f"no metrics go out by {name}: {endpoint[0]}:{endpoint[1]} cannot be had ({error.strerror}). "
            "Another process serves there, or choose another OTEL_EXPORTER_PROMETHEUS_HOST and _PORT"
        )
    return None


def _otlp(protocol: str) -> MetricExporter:
    """Raises ValueError for a protocol that there is no exporter for."""
    if protocol == HTTP:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as OverHttp

        return OverHttp()
    if protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as OverGrpc

        return OverGrpc()
    raise ValueError(f"there is no protocol {protocol!r} here, only {HTTP} and {GRPC}")


@contextmanager
def _complaints(said: Said) -> Iterator[None]:
    """What OpenTelemetry logs goes to `said`, each kind once, and not to stderr line by line. Several threads may be
    inside, each for its time."""
    logger, once = logging.getLogger("opentelemetry"), _Once(said)
    with _LOGGING:
        before = next((other.propagates for other in logger.handlers if isinstance(other, _Once)), logger.propagate)
        once.propagates, logger.propagate = before, False
        logger.addHandler(once)
    try:
        yield
    finally:
        with _LOGGING:
            logger.removeHandler(once)
            if not any(isinstance(other, _Once) for other in logger.handlers):
                logger.propagate = once.propagates


_LOGGING: Final = threading.Lock()


class _Once(logging.Handler):
    propagates = True
    """Whether the logger's words went on to others before the first of these came."""

    def __init__(self, said: Said) -> None:
        super().__init__(level=logging.WARNING)
        self._said = said
        self._heard: set[object] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg not in self._heard:
            self._heard.add(record.msg)
            self._said(f"metrics: {record.getMessage().splitlines()[0]}")
