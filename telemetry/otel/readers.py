"""The SDK's metric readers, with metrics from elsewhere among what they read.

Knows the SDK and Prometheus' client; knows no event. Loaded only where something is exported. Invariant: what comes
from elsewhere goes out whenever a reader reads, beside the process' own instruments and under the same resource."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import (
    Metric,
    MetricExporter,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from telemetry.otel import names

Elsewhere: TypeAlias = Callable[[], Sequence[Metric]]
"""What there is now; called on a reader's thread."""


class Pushing(PeriodicExportingMetricReader):
    """Hands metrics to `exporter` every OTEL_METRIC_EXPORT_INTERVAL, and once more when it is shut down."""

    def __init__(self, exporter: MetricExporter, elsewhere: Elsewhere) -> None:
        self._elsewhere = elsewhere
        super().__init__(exporter)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        super()._receive_metrics(_joined(metrics_data, self._elsewhere()), timeout_millis, **kwargs)


class Exposed(PrometheusMetricReader):
    """What Prometheus reads, as text."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        self._elsewhere = elsewhere
        self._own = CollectorRegistry()
        super().__init__(registry=self._own, scope_info_enabled=False)

    def text(self) -> str:
        """In the exposition format, as it is now."""
        return generate_latest(self._own).decode()

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        super()._receive_metrics(_joined(metrics_data, self._elsewhere()), timeout_millis, **kwargs)


class Served(Exposed):
    """Answers Prometheus under `url` until it is shut down. Raises OSError when the address cannot be had."""

    def __init__(self, host: str, port: int, elsewhere: Elsewhere) -> None:
        super().__init__(elsewhere)
        self._server, self._thread = start_http_server(port, addr=host, registry=self._own)
        named = f"[{host}]" if ":" in host else host
        self.url = f"http://{named}:{self._server.server_port}/metrics"

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        super().shutdown(timeout_millis, **kwargs)


def _joined(own: MetricsData, elsewhere: Sequence[Metric]) -> MetricsData:
    if not elsewhere:
        return own
    ours = ScopeMetrics(InstrumentationScope(names.METER), elsewhere, "")
    return MetricsData(
        [ResourceMetrics(each.resource, [*each.scope_metrics, ours], each.schema_url) for each in own.resource_metrics]
    )
