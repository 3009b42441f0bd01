"""A row has one canonical line, and what no line can hold is refused."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from telemetry.datasets.canonical import Canonical
from telemetry.errors import RecipeRefused


def lines_of(table: pa.Table, *, json_fields: tuple[str, ...] = ()) -> list[str]:
    canonical = Canonical(table.schema, json_fields=json_fields)
    found = [bytes(canonical.lines(batch).bytes) for batch in table.to_batches()]
    return b"".join(found).decode().splitlines()


def test_a_line_is_json_with_its_keys_in_order_and_says_what_is_missing() -> None:
    table = pa.table({"b": [1.5, None], "a": ["é\n", '"'], "c": [[1, None], None]})
    assert lines_of(table) == ['{"a":"é\\n","b":1.5,"c":[1,null]}', '{"a":"\\"","b":null,"c":null}']


def test_text_that_holds_json_is_json_in_the_line() -> None:
    table = pa.table({"action": ['{"to":[1,2.0]}', None]})
    assert lines_of(table, json_fields=("action",)) == ['{"action":{"to":[1,2.0]}}', '{"action":null}']
    assert lines_of(table)[0] == '{"action":"{\\"to\\":[1,2.0]}"}'


def test_floats_come_back_bit_for_bit() -> None:
    values = [0.1, 1e-300, 123456789.123456789, 5e-324, 1.7976931348623157e308, -0.0]
    found = [json.loads(line)["x"] for line in lines_of(pa.table({"x": values}))]
    assert [value.hex() for value in found] == [value.hex() for value in values]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.0, float("nan")]),
        pa.array([[1.0], [float("inf")]]),
        pa.array([{"x": 1.0}, {"x": float("-inf")}]),
        pa.array([1.0, float("nan")], pa.float32()),
    ],
    ids=["double", "list", "struct", "float"],
)
def test_nan_and_infinity_are_refused_with_the_fields_name(column: pa.Array) -> None:
    with pytest.raises(RecipeRefused, match="'loss' holds NaN or infinity"):
        lines_of(pa.table({"loss": column}))


def test_text_that_should_be_json_and_is_none_is_refused() -> None:
    with pytest.raises(RecipeRefused, match="json_fields"):
        lines_of(pa.table({"action": ["{"]}), json_fields=("action",))


def test_lines_of_a_slice_are_those_of_its_rows() -> None:
    batch = pa.record_batch({"x": list(range(10))})
    canonical = Canonical(batch.schema, json_fields=())
    assert bytes(canonical.lines(batch.slice(3, 2)).bytes) == b'{"x":3}\n{"x":4}\n'
    assert bytes(canonical.lines(batch).between(3, 5).bytes) == b'{"x":3}\n{"x":4}\n'
