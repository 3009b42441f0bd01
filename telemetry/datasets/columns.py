"""What the columns of a recipe's query must be.

Knows names and Arrow types; knows neither SQL nor rows. Invariant: what passes here can be written in every format."""

from __future__ import annotations

import difflib
from typing import Final

import pyarrow as pa

from telemetry.datasets.recipe import Recipe
from telemetry.errors import RecipeRefused

SPLIT: Final = "split"
SUBJECTS: Final = "subjects"
PLACE, WHOM, JUDGES = "aether_place", "aether_subjects", "aether_evaluation"
"""Columns that selecting adds for itself."""


def check(recipe: Recipe, schema: pa.Schema) -> None:
    """Raises `RecipeRefused` where `schema` is not what a recipe's query must give, or lacks what the recipe names."""
    if len(set(schema.names)) < len(schema.names):
        raise RecipeRefused(f"two columns of recipe {recipe.name} have the same name: {', '.join(schema.names)}")
    _check_given(recipe, schema)
    for name in (SPLIT, PLACE, WHOM, JUDGES):
        if name in schema.names:
            raise RecipeRefused(
                f"building gives the column {name!r} itself; name that of recipe {recipe.name} otherwise"
            )
    for field in schema:
        if not _is_held(field.type):
            raise RecipeRefused(
                f"the column {field.name!r} of recipe {recipe.name} is of type {field.type}, which no format of a "
                f"dataset holds. Let the query say what is meant, such as {field.name}::VARCHAR"
            )
    _check_named(recipe, schema)


def _check_given(recipe: Recipe, schema: pa.Schema) -> None:
    for name, fits, what in (
        ("session", _is_text, "the session that a row is of, as text"),
        ("events", _is_texts, "the ids of the events that a row came from, as a list of text: the views' `sources`"),
    ):
        if name not in schema.names or not fits(schema.field(name).type):
            raise RecipeRefused(f"the query of recipe {recipe.name} must give a column {name!r}: {what}")
    if SUBJECTS in schema.names and not _is_texts(schema.field(SUBJECTS).type):
        raise RecipeRefused(f"the column {SUBJECTS!r} of recipe {recipe.name} must be a list of text: names of people")


def _check_named(recipe: Recipe, schema: pa.Schema) -> None:
    for said, names in (("json_fields", recipe.json_fields), ("classes", recipe.classes), ("fields", recipe.fields)):
        for name in names:
            if name not in schema.names:
                near = difflib.get_close_matches(name, schema.names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; its columns: {', '.join(schema.names)}"
                raise RecipeRefused(
                    f"{said} of recipe {recipe.name} names {name!r}, which its query does not give{hint}"
                )
    for name in recipe.json_fields:
        if not _is_text(schema.field(name).type):
            raise RecipeRefused(
                f"json_fields of recipe {recipe.name} names {name!r}, which is no text: only text that holds JSON is "
                f"JSON in the dataset. Leave it out, or let the query give to_json({name})::VARCHAR"
            )


def _is_held(kind: pa.DataType) -> bool:
    """Whether JSON, Parquet and CSV hold it: numbers, text, flags, times, and lists and structs of these."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_held(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_held(one.type) for one in kind)
    plain = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    times = (pa.types.is_date, pa.types.is_time, pa.types.is_timestamp)
    return any(fits(kind) for fits in (_is_text, *plain, *times))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_texts(kind: pa.DataType) -> bool:
    return bool((pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type))
