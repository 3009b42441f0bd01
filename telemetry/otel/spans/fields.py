"""Attributes that are a payload's fields as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from telemetry.otel.span import Attribute
from telemetry.otel.spans.about import Body

Fields: TypeAlias = Mapping[str, str]
"""Names of attributes by the fields, `field` or `field.inner`, that they are taken from."""

Pairs: TypeAlias = tuple[tuple[str, str, str], ...]
"""Field, inner field or '', name."""

LARGEST = 2**63 - 1
"""The largest integer that OTLP holds; a field above it stays out."""


def pairs_of(fields: Fields) -> Pairs:
    return tuple((*field.partition(".")[::2], name) for field, name in fields.items())


def take(attributes: dict[str, Attribute], pairs: Pairs, body: Body) -> None:
    """Those that the payload has; what it leaves out stays out."""
    for field, inner, name in pairs:
        value = body.get(field)
        if inner and value is not None:
            value = value.get(inner)
        if value is not None and not (type(value) is int and value > LARGEST):
            attributes[name] = value
