"""Whose telemetry it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.otel import names

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


def resource() -> Resource:
    """Ours, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = Resource({"service.name": names.SERVICE})
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())
