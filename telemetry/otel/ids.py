"""Ids of traces and spans, derived from where an event stands in the log.

Invariant: an id follows from stream, cycle and version alone, so whoever exports an event, however often and from
whichever copy of the log, gives it the same ids."""

from __future__ import annotations

import hashlib
from functools import lru_cache


def trace_id(stream: str, cycle: int) -> int:
    """Of a cycle's trace, 128 bits, never 0. What stands outside every cycle of its stream is of cycle 0."""
    return _derived("trace", stream, cycle, size=16)


def cycle_span_id(stream: str, cycle: int) -> int:
    """Of the root span of that trace, 64 bits, never 0."""
    return _derived("cycle", stream, cycle, size=8)


def phase_span_id(stream: str, version: int) -> int:
    """Of the phase that begins with that event, which may begin a span below it too; 64 bits, never 0."""
    return _derived("phase", stream, version, size=8)


def span_id(stream: str, version: int) -> int:
    """Of the span that begins with that event, 64 bits, never 0."""
    return _derived("span", stream, version, size=8)


def _derived(domain: str, stream: str, number: int, *, size: int) -> int:
    """SHA-256 of the parts, cut to `size` bytes; neither a domain nor a stream holds a NUL."""
    hashed = _begun(domain, stream).copy()
    hashed.update(str(number).encode())
    return int.from_bytes(hashed.digest()[:size], "big") or 1


@lru_cache(maxsize=4096)
def _begun(domain: str, stream: str) -> hashlib._Hash:
    """What the ids of a stream have in common: a third of what an id takes."""
    return hashlib.sha256(f"aetherloop.otel\0{domain}\0{stream}\0".encode())
