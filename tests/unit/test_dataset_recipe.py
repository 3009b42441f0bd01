"""A recipe says a dataset's query, its splits and what its fields mean; its digest is its content's."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from telemetry.datasets.recipe import Recipe, Split, parse

TEXT = """
name = "moves"
query = "SELECT session, sources AS events FROM actions"
"""


def test_a_recipe_needs_no_more_than_a_name_and_a_query() -> None:
    recipe = parse(TEXT)
    assert recipe.split.shares == {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert (recipe.format, recipe.evaluations, recipe.at) == ("parquet", False, None)


def test_a_recipe_with_an_unknown_key_is_none() -> None:
    with pytest.raises(ValidationError, match="forbidden"):
        parse(TEXT + 'tables = "actions"\n')


@pytest.mark.parametrize("shares", [{"train": 0.8, "test": 0.1}, {"train": 1.2, "test": -0.2}, {}])
def test_shares_that_do_not_add_up_to_one_are_none(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Split(shares=shares)


def test_shares_of_thirds_add_up() -> None:
    Split(shares={"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})


def test_the_digest_of_a_recipe_is_of_what_it_says_not_of_how_its_file_is_written() -> None:
    assert parse(TEXT).digest == parse("# a comment\n" + TEXT.replace("name", "'name'")).digest
    assert parse(TEXT).digest != parse(TEXT + "[split]\nseed = 1\n").digest


def test_a_parameter_is_part_of_the_digest() -> None:
    recipe = Recipe(name="a", query="SELECT $least", parameters={"least": 1})
    assert recipe.digest != recipe.model_copy(update={"parameters": {"least": 2}}).digest
