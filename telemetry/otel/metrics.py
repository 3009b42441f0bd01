"""Metrics: what trainings measure, on the global meter, and how a process hands it to a collector.

Knows OpenTelemetry's API, and its SDK only inside `exporting`; knows no model and no log. Invariant: with nobody who
exports, measuring costs next to nothing and loads no SDK; a collector that does not answer ends no command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics

from telemetry.otel import names

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

EXPORTERS: Final = ("none", "console", "otlp")
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


@contextmanager
def exporting(exporters: str, *, said: Said) -> Iterator[None]:
    """Until its end, and once more there, this process' metrics go to `exporters`, by the standard OTEL_ variables.

    For whoever owns the process, once: the global provider cannot be taken back. What cannot be exported to, or did not
    answer, is told to `said`, each of it once."""
    wanted = _wanted(exporters, said)
    if not wanted:
        yield
        return
    from opentelemetry.sdk.metrics import MeterProvider

    with _complaints(said):
        readers = [reader for name in wanted if (reader := _reader(name, said)) is not None]
        provider = MeterProvider(metric_readers=readers, resource=_resource(), shutdown_on_exit=False)
        metrics.set_meter_provider(provider)
        try:
            yield
        finally:
            provider.shutdown(timeout_millis=LAST_EXPORT_MS)


def _resource() -> Resource:
    """Whose metrics they are: ours, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = Resource({"service.name": names.SERVICE})
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


def _wanted(exporters: str, said: Said) -> list[str]:
    found = dict.fromkeys(name for part in exporters.split(",") if (name := part.strip().lower()))
    for name in found.keys() - set(EXPORTERS):
        said(f"metrics do not go out by {name!r}, only by {' and '.join(EXPORTERS[1:])}")
    return [name for name in found if name in EXPORTERS[1:]]


def _reader(name: str, said: Said) -> MetricReader | None:
    """None where the variables of the exporter cannot be meant, which is said."""
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter, PeriodicExportingMetricReader

    try:
        exporter: MetricExporter
        if name == "console":
            exporter = ConsoleMetricExporter(out=sys.stderr)  # stdout is for data
        else:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

            exporter = OTLPMetricExporter()
        return PeriodicExportingMetricReader(exporter)
    except ValueError as error:
        said(f"no metrics go out by {name}: {error}")
        return None


@contextmanager
def _complaints(said: Said) -> Iterator[None]:
    """What OpenTelemetry logs goes to `said`, each kind once, and not to stderr line by line."""
    logger, once = logging.getLogger("opentelemetry"), _Once(said)
    logger.addHandler(once)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(once)
        logger.propagate = before


class _Once(logging.Handler):
    def __init__(self, said: Said) -> None:
        super().__init__(level=logging.WARNING)
        self._said = said
        self._heard: set[object] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg not in self._heard:
            self._heard.add(record.msg)
            self._said(f"metrics: {record.getMessage().splitlines()[0]}")
