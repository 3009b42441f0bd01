"""What a dataset is made by: a query, how its rows are divided, and what its fields mean.

Knows a recipe's shape and the recipes that are shipped; reads no log. Invariant: two recipes that would build other
rows have another digest."""

from __future__ import annotations

import hashlib
import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from telemetry.events.values import Digest, Value, canonical

SHIPPED = Path(__file__).with_name("recipes")

Format = Literal["parquet", "jsonl", "csv", "huggingface"]

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]

FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

SplitName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

Parameter = str | int | float | bool

SHARES_TOLERANCE = 1e-9
"""Sums of decimal fractions miss 1 by less than this."""


class Split(Value):
    """Which rows are learnt from and which are not. All rows of a session lie in one split."""

    by: Literal["session", "subject"] = "session"
    """What is kept together: a session with its forks, or all sessions of the person that they serve."""
    seed: int = Field(default=0, ge=0)
    """Another seed divides otherwise."""
    shares: dict[SplitName, Annotated[float, Field(ge=0, le=1)]] = {"train": 0.8, "validation": 0.1, "test": 0.1}
    """The splits in their order, each with its share of what is kept together. They add up to 1."""

    @model_validator(mode="after")
    def _shares_add_up(self) -> Split:
        total = math.fsum(self.shares.values())
        if abs(total - 1) > SHARES_TOLERANCE:
            raise ValueError(f"the shares add up to {total:g}; they must add up to 1")
        return self


class Recipe(Value):
    """One dataset, as `RECIPE.toml` says it."""

    name: Name
    """The dataset's name."""
    about: str = ""
    """What its rows are and what they are good for, for its card."""
    query: str = Field(min_length=1)
    """One SELECT over the views of `aether trace query`. Its columns are the dataset's fields; among them `session`,
    the session that a row is of, and `events`, a list of the ids of the events that it came from. `subjects`, a list of
    the people whom a row is about, is the person of the session where the query does not give it."""
    parameters: dict[FieldName, Parameter] = {}
    """What stands for `$NAME` in the query; `--set NAME=VALUE` replaces it."""
    json_fields: tuple[FieldName, ...] = ()
    """Columns of text that hold JSON, and are JSON in the dataset too."""
    classes: tuple[FieldName, ...] = ()
    """Columns whose values are counted in the card."""
    fields: dict[FieldName, str] = {}
    """What each column means, for the card."""
    split: Split = Split()
    format: Format = "parquet"
    """parquet, jsonl or csv: a file a split. huggingface: a folder that `datasets.load_dataset` takes."""
    at: int | None = Field(default=None, ge=0)
    """The position of the log that it is pinned to; left out: the last one as building begins."""
    evaluations: bool = False
    """Whether sessions that judge models are taken too: they are nothing to learn from."""

    @property
    def digest(self) -> Digest:
        """SHA-256 of its content, however its file is written."""
        return hashlib.sha256(canonical(self)).hexdigest()

    @property
    def id(self) -> str:
        """`name@` and the first 12 digits of its digest."""
        return f"{self.name}@{self.digest[:12]}"


def parse(text: str) -> Recipe:
    """Raises `tomllib.TOMLDecodeError` and pydantic's `ValidationError`."""
    return Recipe.model_validate(tomllib.loads(text))


def shipped() -> dict[str, Path]:
    """Where each shipped recipe stands, by its name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}
