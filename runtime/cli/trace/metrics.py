"""`aether trace metrics`: what the log's events come to, once or for as long as somebody follows.

Knows how totals are shown; what counts for what, the projection knows."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, talk

if TYPE_CHECKING:
    from runtime.settings import Settings
    from telemetry.log import EventLog
    from telemetry.otel.measures.totals import Labels, Series, Spread
    from telemetry.otel.names import Measure

FOLLOW_S = 1.0


@command
def metrics(
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Serve Prometheus, or export as `metrics` in the settings says, until Ctrl-C."),
    ] = False,
    text: Annotated[bool, typer.Option("--text", help="Print them as Prometheus reads them.")] = False,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Print what the log's events come to: cycles, phases, surprise, reward, effects, calls of models and their cost.

    With --follow they are handed out for as long as it runs: on http://localhost:9464/metrics, or as metrics in the
    settings and OTEL_METRICS_EXPORTER say, by OTLP. Totals are of the whole log, whoever counted them.

    Example: aether trace metrics --follow
    """
    from runtime.errors import UsageError
    from runtime.settings import read_settings

    if follow and (text or as_json):
        raise UsageError("--follow prints nothing: leave out --text and --json, or --follow")
    settings = read_settings({"log": log}).settings
    with reading(log) as store:
        if follow:
            _follow(store, settings)
        elif text:
            typer.echo(_text(store, settings), nl=False)
        else:
            _print(store, settings, as_json=as_json)


def _follow(store: EventLog, settings: Settings) -> None:
    from runtime.errors import Unavailable
    from runtime.telemetry.metrics import MetricsFollower

    exporters = settings.metrics if settings.metrics != "none" else "prometheus"
    with MetricsFollower(store, settings, exporters=exporters, said=talk) as follower:
        if not follower.by:
            raise Unavailable(f"metrics of {store.name} go nowhere, for the reason above. The log is intact")
        others = [name for name in follower.by if name != "prometheus"]
        where = [f"are at {follower.url}"] if follower.url else []
        where += [f"go out by {' and '.join(others)}"] if others else []
        talk(f"metrics of {store.name} {' and '.join(where)}")
        while True:
            follower.step(wait_s=FOLLOW_S)


def _text(store: EventLog, settings: Settings) -> str:
    from opentelemetry.sdk.metrics import MeterProvider

    from runtime.telemetry.metrics import counted, kept, measure_log, metrics_now
    from telemetry.otel import names
    from telemetry.otel.readers import Exposed
    from telemetry.otel.resource import resource

    totals, _ = counted(store)
    reader = Exposed(lambda: metrics_now(totals, kept(store, settings)))
    provider = MeterProvider([reader], resource=resource(), shutdown_on_exit=False)
    measure_log(provider.get_meter(names.METER), store)
    try:
        return reader.text()
    finally:
        provider.shutdown()


def _print(store: EventLog, settings: Settings, *, as_json: bool) -> None:
    from runtime.telemetry.metrics import counted, kept
    from telemetry.otel.measures.standing import series_of

    totals, position = counted(store)
    found = [*totals.series(), *series_of(kept(store, settings))]
    if as_json:
        answer([_row(measure, *one) for measure, series in found for one in _in_order(series)], as_of=position)
        return
    for measure, series in found:
        by = ", ".join(measure.attributes)
        typer.echo(f"{measure.name}{by and f' by {by}'}\n  {measure.description}")
        shown = [
            (*("—" if value is None else value for value in at), _said(measure, one)) for at, one in _in_order(series)
        ]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for cells in shown:
            typer.echo("  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _in_order(series: Series) -> list[tuple[Labels, int | float | Spread]]:
    return sorted(series.items(), key=lambda each: [label or "" for label in each[0]])


def _row(measure: Measure, labels: Labels, found: float | Spread) -> dict[str, object]:
    """A series. A histogram's buckets are by their upper bound, which they include; the last has none."""
    from telemetry.otel.measures.totals import Spread, attributes

    of = {
        "metric": measure.name,
        "kind": measure.kind,
        "unit": measure.unit,
        "attributes": attributes(measure, labels),
    }
    if not isinstance(found, Spread):
        return {**of, "value": found}
    buckets = [*zip((*measure.bounds, None), found.counts, strict=True)]
    return {**of, "count": found.count, "sum": found.total, "min": found.least, "max": found.most, "buckets": buckets}


def _said(measure: Measure, found: float | Spread) -> str:
    """In the metric's unit: a number, or how many and where they lie."""
    from telemetry.otel.measures.totals import Spread

    counts = measure.kind in ("counter", "gauge") and measure.unit not in ("s", "{USD}")
    unit = "" if counts else measure.unit.strip("{}").removeprefix("1")
    if not isinstance(found, Spread):
        return f"{_short(found)} {unit}".rstrip()
    mean = _short(found.total / found.count)
    median, most = (_short(_quantile(found, measure.bounds, share)) for share in (0.5, 0.99))
    return f"{found.count:,}: mean {mean}, p50 ≤ {median}, p99 ≤ {most} {unit}".rstrip()


def _quantile(spread: Spread, bounds: tuple[float, ...], share: float) -> float:
    """The upper bound of the bucket that holds it; no more than the largest value."""
    wanted = share * spread.count
    place = next(place for place, below in enumerate(accumulate(spread.counts)) if below >= wanted)
    return min(spread.most, bounds[place]) if place < len(bounds) else spread.most


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
