"""Spans: the log rendered for people and viewers of traces."""

from telemetry.otel.spans.fold import SpanFold, session_spans
from telemetry.otel.spans.references import History

__all__ = ["History", "SpanFold", "session_spans"]
