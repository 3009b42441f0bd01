"""The one place where an older payload becomes today's shape.

An upcaster is pure, takes the payload of schema n and returns that of n + 1; for one that never was of schema n it
may raise KeyError, TypeError or ValueError. It is registered under (type, n), and `tests/golden/` holds a log of
every shape that was ever released.
Invariant: a vocabulary whose chain of upcasters has a gap cannot be imported."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from pydantic import JsonValue

from telemetry.errors import VocabularyBroken

Payload = dict[str, JsonValue]

UPCASTERS: Mapping[tuple[str, int], Callable[[Payload], Payload]] = {}


def upcast(event_type: str, schema: int, payload: Payload, *, to: int) -> Payload:
    """`payload` of `schema` in the shape of schema `to`. KeyError where there is no step, and what the steps raise."""
    for step in range(schema, to):
        payload = UPCASTERS[event_type, step](payload)
    return payload


def check_chain(schemas: Mapping[str, int], upcasters: Collection[tuple[str, int]]) -> None:
    """`schemas` is today's schema of each type. Raises `VocabularyBroken` unless each has an upcaster from every
    older schema, and there are no others."""
    needed = {(name, old) for name, schema in schemas.items() for old in range(1, schema)}
    lines = [
        f"{name} is of schema {schemas[name]} and has no upcaster from schema {old}: register one under "
        f'("{name}", {old}) in telemetry/events/upcast.py, and keep a golden log of the old shape'
        for name, old in sorted(needed.difference(upcasters))
    ]
    for name, old in sorted(set(upcasters) - needed):
        is_what = f"is of schema {schemas[name]}" if name in schemas else "is in no vocabulary"
        lines.append(
            f'the upcaster ("{name}", {old}) leads nowhere, as {name} {is_what}: '
            "count the type's SCHEMA up, or take the upcaster out of telemetry/events/upcast.py"
        )
    if lines:
        raise VocabularyBroken("old events could not be read; no log was touched.\n" + "\n".join(lines))
