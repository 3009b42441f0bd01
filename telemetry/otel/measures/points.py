"""Totals as OpenTelemetry's metrics, to go out with whatever else a process measures.

Knows the SDK's data model; knows no event and no exporter. Invariant: a series begins where the totals do, so nothing
that reads them sees a reset when a process ends and another goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from telemetry.otel.measures.totals import Labels, Series, Spread, attributes
from telemetry.otel.names import Measure


def metrics_of(series: Iterable[tuple[Measure, Series]], *, began: int, now: int) -> list[Metric]:
    """Cumulative from `began` to `now`, UTC ns."""
    return [_metric(measure, found, began, now) for measure, found in series]


def _metric(measure: Measure, series: Series, began: int, now: int) -> Metric:
    data: Gauge | Sum | Histogram
    if measure.kind == "histogram":
        points = [
            _spread(measure, labels, found, began, now) for labels, found in series.items() if isinstance(found, Spread)
        ]
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
    else:
        numbers = [
            NumberDataPoint(attributes(measure, labels), 0 if measure.kind == "gauge" else began, now, found)
            for labels, found in series.items()
            if not isinstance(found, Spread)
        ]
        data = (
            Gauge(numbers)
            if measure.kind == "gauge"
            else Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=measure.kind == "counter")
        )
    return Metric(measure.name, measure.description, measure.unit, data)


def _spread(measure: Measure, labels: Labels, spread: Spread, began: int, now: int) -> HistogramDataPoint:
    total = spread.total if measure.bounds[0] >= 0 else None
    return HistogramDataPoint(
        attributes=attributes(measure, labels),
        start_time_unix_nano=began,
        time_unix_nano=now,
        count=spread.count,
        sum=cast("float", total),  # the data model has it optional where values may be negative, the SDK's types do not
        bucket_counts=tuple(spread.counts),
        explicit_bounds=measure.bounds,
        min=spread.least,
        max=spread.most,
    )
