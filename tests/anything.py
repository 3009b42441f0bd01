"""Strategies for whatever the vocabulary allows: from a type to everything that it may hold.

Knows pydantic's fields and their bounds; knows no event by name."""

from __future__ import annotations

import dataclasses
import types
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from telemetry.events.values import Array

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=12)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    dtype = draw(st.sampled_from(["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"]))
    shape = draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Array.of((rng.normal(size=shape) * 100).astype(dtype))


def values(annotation: Any, metadata: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:  # noqa: ANN401
    """Everything that a field of this annotation may hold."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return values(inner, (*metadata, *more))
    if annotation is Any or annotation is JsonValue:
        return JSON
    if origin is Literal:
        return st.sampled_from(get_args(annotation))
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(member, metadata) for member in get_args(annotation)))
    if origin is tuple:
        least = _bounds(metadata).get("min_length", 0)
        return st.lists(values(get_args(annotation)[0]), min_size=least, max_size=3).map(tuple)
    if origin is dict:
        key, value = get_args(annotation)
        return st.dictionaries(values(key), values(value), max_size=3)
    if origin is frozenset:
        return st.frozensets(values(get_args(annotation)[0]), max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return models(annotation)
    if dataclasses.is_dataclass(annotation) or hasattr(annotation, "_fields"):
        return records(annotation)
    return _scalar(annotation, _bounds(metadata))


def _bounds(metadata: tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in metadata:
        for one in (item, *getattr(item, "metadata", ())):
            found |= {n: getattr(one, n) for n in ("ge", "gt", "le", "pattern", "min_length") if hasattr(one, n)}
    return found


def _scalar(kind: Any, bounds: dict[str, Any]) -> st.SearchStrategy[Any]:  # noqa: ANN401
    low, high, above = bounds.get("ge"), bounds.get("le"), bounds.get("gt")
    if kind is types.NoneType:
        return st.none()
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)
    if kind is float and above is not None:
        return st.floats(above, high, exclude_min=True, allow_nan=False, allow_infinity=False)
    if kind is float:
        return st.floats(low, high, allow_nan=False, allow_infinity=False)
    if kind is str and bounds.get("pattern"):
        return st.from_regex(bounds["pattern"].replace("$", r"\Z"), alphabet=st.characters(codec="ascii"))
    assert kind is str, f"no strategy for {kind}"
    return TEXTS


@cache
def models(cls: type[BaseModel]) -> st.SearchStrategy[Any]:
    if cls is Array:
        return arrays()
    fields = {}
    for name, field in cls.model_fields.items():
        if name == "type":
            continue
        annotation = field.annotation
        fields[name] = st.deferred(lambda a=annotation, m=tuple(field.metadata): values(a, m))  # type: ignore[misc]  # bound now
    return st.fixed_dictionaries({}, optional=_omittable(cls, fields)).flatmap(
        lambda some: st.fixed_dictionaries(
            {name: strategy for name, strategy in fields.items() if cls.model_fields[name].is_required()}
        ).map(lambda required: cls(**some, **required))
    )


def _omittable(cls: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: strategy for name, strategy in fields.items() if not cls.model_fields[name].is_required()}


@cache
def records(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Everything that a dataclass or a named tuple may hold."""
    return st.builds(cls, **{name: st.deferred(lambda h=hint: values(h)) for name, hint in hints_of(cls).items()})  # type: ignore[misc]  # bound now


def hints_of(cls: type[Any]) -> dict[str, Any]:
    """The types of its fields, with their bounds."""
    return get_type_hints(cls, include_extras=True)
