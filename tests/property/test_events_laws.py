"""Laws of the vocabulary: what is written is read back, and equal facts are equal bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from telemetry.errors import InvalidEvent
from telemetry.events import Event, Unknown, decode, encode, json_schema
from telemetry.events.registry import CLASSES
from telemetry.events.values import Array
from tests.anything import arrays, models

EVENTS: st.SearchStrategy[Event] = st.sampled_from(sorted(CLASSES)).flatmap(lambda name: models(CLASSES[name]))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_event_is_read_back_as_it_was_written(name: str) -> None:
    @settings(max_examples=25, deadline=None, database=None)
    @given(event=models(CLASSES[name]))
    def law(event: Event) -> None:
        payload = encode(event)
        back = decode(name, event.SCHEMA, payload)
        assert back == event
        assert type(back) is type(event)
        assert encode(back) == payload

    law()


@settings(max_examples=100, deadline=None)
@given(event=EVENTS)
def test_stored_json_is_canonical_sorted_and_without_defaults_and_type(event: Event) -> None:
    payload = encode(event)
    stored = orjson.loads(payload)
    assert payload == orjson.dumps(stored, option=orjson.OPT_SORT_KEYS)
    assert "type" not in stored
    for name, field in type(event).model_fields.items():
        if not field.is_required() and getattr(event, name) == field.get_default():
            assert name not in stored


def test_the_json_schema_holds_every_type_and_allows_what_is_an_event() -> None:
    schema = json_schema()
    mapping: Any = schema["discriminator"]
    assert set(mapping["mapping"]) == set(CLASSES)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    @settings(max_examples=80, deadline=None)
    @given(event=EVENTS)
    def law(event: Event) -> None:
        validator.validate(orjson.loads(event.model_dump_json()))

    law()
    for name, cls in CLASSES.items():
        assert not validator.is_valid({"type": name, "nobody knows": 1}), cls


@settings(max_examples=100, deadline=None)
@given(
    name=st.from_regex(r"(sense|reason|learn|future)\.[a-z_]{1,12}\Z", alphabet="abcdefghijklmnopqrstuvwxyz_."),
    schema=st.integers(1, 99),
    payload=st.binary(max_size=64),
)
def test_an_event_of_an_unknown_type_stays_as_it_is(name: str, schema: int, payload: bytes) -> None:
    if name not in CLASSES:
        assert decode(name, schema, payload) == Unknown(type=name, schema_number=schema, payload=payload)


@settings(max_examples=60, deadline=None)
@given(array=arrays())
def test_an_array_gives_back_what_it_was_made_of(array: Array) -> None:
    values = array.numpy()
    assert (values.shape, values.dtype.name) == (array.shape, array.dtype)
    assert Array.of(values) == array
    big = Array.of(values.astype(values.dtype.newbyteorder(">")))
    assert big == array, "the byte order of the machine must not show"
    assert Array.of(np.array(values, order="F")) == array


@settings(max_examples=100, deadline=None)
@given(event=EVENTS, bad=st.sampled_from([math.nan, math.inf, -math.inf]), data=st.data())
def test_no_number_of_an_event_may_be_nan_or_infinite(event: Event, bad: float, data: st.DataObject) -> None:
    dumped = event.model_dump()
    places = list(_numbers(dumped))
    if not places:
        return
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = bad
    with pytest.raises(ValidationError):
        type(event).model_validate(dumped)


def _numbers(value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        if isinstance(inner, float):
            yield value, key
        yield from _numbers(inner)


@pytest.mark.parametrize("bad", [[math.nan], [math.inf], [[0.0, -math.inf]]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_array_of_nan_or_infinity_is_refused(bad: list[Any], dtype: str) -> None:
    with pytest.raises(InvalidEvent, match="NaN or infinity"):
        Array.of(np.array(bad, dtype=dtype))
