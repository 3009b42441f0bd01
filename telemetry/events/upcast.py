"""The one place where an older payload becomes today's shape.

An upcaster is pure, takes the payload of schema n and returns that of n + 1. It is registered under
(type, n), and `tests/golden/` holds a log of every shape that was ever released."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import JsonValue

Payload = dict[str, JsonValue]

UPCASTERS: Mapping[tuple[str, int], Callable[[Payload], Payload]] = {}


def upcast(event_type: str, schema: int, payload: Payload, *, to: int) -> Payload:
    """`payload` of `schema` in the shape of schema `to`. Raises KeyError when a step of the chain is missing."""
    for step in range(schema, to):
        payload = UPCASTERS[event_type, step](payload)
    return payload
