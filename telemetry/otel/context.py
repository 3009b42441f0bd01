"""The context that users' own code runs under, so that the spans it opens join the trace that follows from the events.

Knows OpenTelemetry's API and no SDK; makes no span. Invariant: a span that is opened `under` an event is a child of the
span that begins with that event, in whichever process, whether or not anything was exported yet."""

from __future__ import annotations

import ipaddress
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry.otel.ids import cycle_span_id, span_id, trace_id

SAMPLED: Final = trace.TraceFlags(trace.TraceFlags.SAMPLED)
"""Always: the log drops nothing, so neither does what hangs on it."""

_W3C = TraceContextTextMapPropagator()


class _Ahead(trace.NonRecordingSpan):
    """A span that is still to follow from the events, known by its place. Most effects open no span in it, so its ids
    are hashed when somebody asks for them."""

    def __init__(self, stream: str, cycle: int, version: int | None) -> None:
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self._place = stream, cycle, version
        self._known: trace.SpanContext | None = None

    def get_span_context(self) -> trace.SpanContext:
        if self._known is None:
            stream, cycle, version = self._place
            own = cycle_span_id(stream, cycle) if version is None else span_id(stream, version)
            self._known = trace.SpanContext(trace_id(stream, cycle), own, is_remote=True, trace_flags=SAMPLED)
        return self._known


class Under:
    """`with Under(...)`: that span is the current one."""

    __slots__ = ("_before", "_span")

    def __init__(self, span: trace.Span | None) -> None:
        """With None nothing changes."""
        self._span = span

    def __enter__(self) -> None:
        if self._span is not None:
            self._before = context.attach(trace.set_span_in_context(self._span))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._span is not None:
            context.detach(self._before)


def under_cycle(stream: str, *, cycle: int) -> Under:
    """The root span of the cycle is current, of cycle 0 the session's: for what runs before there is an event that it
    belongs to."""
    return Under(_Ahead(stream, cycle, None))


def under(event_id: str, *, cycle: int) -> Under:
    """The span that begins with that event of `cycle` is current. Without an id, as of an event that is on no log,
    nothing changes."""
    stream, _, version = event_id.rpartition("@")
    return Under(_Ahead(stream, cycle, int(version)) if version else None)


def carried() -> dict[str, str]:
    """What names the current span to another process, by W3C Trace Context (`traceparent`, and `tracestate` where there
    is one); nothing where no span is current. Baggage is the user's and stays here."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier


def carriers() -> frozenset[str]:
    """Every name under which this process' propagators hand a context on."""
    from opentelemetry import propagate  # reads the metadata of all that is installed

    return frozenset(propagate.get_global_textmap().fields) | _W3C.fields


def is_carried_to(url: str, *, wish: bool | None) -> bool:
    """Whether requests to `url` name the span that they belong to: as its owner wishes, else only to this machine."""
    if wish is not None:
        return wish
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
