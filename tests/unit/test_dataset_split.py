"""What is kept together lies in one split, for ever."""

from __future__ import annotations

from collections import Counter

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.datasets.recipe import Split
from telemetry.datasets.split import place_sql, split_of

SPLIT = Split()


def test_shares_are_kept_over_many_groups() -> None:
    found = Counter(split_of(f"session/{number}", SPLIT) for number in range(20_000))
    assert {name: round(count / 20_000, 2) for name, count in found.items()} == SPLIT.shares


def test_another_seed_divides_otherwise() -> None:
    groups = [f"session/{number}" for number in range(100)]
    assert [split_of(one, SPLIT) for one in groups] != [split_of(one, Split(seed=1)) for one in groups]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(deadline=None)
@given(groups=st.lists(TEXT, max_size=20), seed=st.integers(0, 2**31))
def test_sql_and_python_say_the_same_split(groups: list[str], seed: int) -> None:
    split = Split(seed=seed, shares={"a": 0.5, "b": 0.25, "c": 0.25})
    names = list(split.shares)
    asked = f"SELECT list_transform($groups::VARCHAR[], lambda one: {place_sql('one', split)})"
    with duckdb.connect() as connection:
        (found,) = connection.execute(asked, {"groups": groups}).fetchall()[0]
    assert [names[place] for place in found] == [split_of(group, split) for group in groups]


def test_a_split_with_all_or_nothing_takes_all_or_nothing() -> None:
    split = Split(shares={"none": 0, "train": 1})
    assert {split_of(f"session/{number}", split) for number in range(1000)} == {"train"}
    split = Split(shares={"train": 1, "none": 0})
    assert {split_of(f"session/{number}", split) for number in range(1000)} == {"train"}
