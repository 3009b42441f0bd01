"""A recipe's query, as the one query that gives a dataset's rows: with each row's split, subjects and session's
purpose, in the dataset's order.

Knows SQL and the view `sessions`; runs nothing itself. Invariant: the order is total. Rows stand by split, session, and
version of the first event that they came from; rows with the same events stand by all their other columns, and rows
that are equal in those are equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from telemetry.datasets.canonical import quoted
from telemetry.datasets.columns import JUDGES, PLACE, SPLIT, SUBJECTS, WHOM, check
from telemetry.datasets.recipe import Parameter, Recipe
from telemetry.datasets.rows import Rows, runs
from telemetry.datasets.split import place_sql
from telemetry.errors import RecipeRefused

Ask: TypeAlias = Callable[[str, Mapping[str, Parameter]], AbstractContextManager[Iterator[pa.RecordBatch]]]
"""Runs one SELECT over the views of a log at a position, with what stands for its `$NAME`s, and streams what it gives
in the order that it says: at least one batch, which may be empty. Raises for what is no such query."""

LONG = 64
"""Events of a row above which they are not compared each with each other where none stands twice."""

_UNIQUE_EVENTS = (
    f"CASE WHEN len(found.events) > {LONG} AND len(list_distinct(found.events)) = len(found.events) THEN found.events "
    "ELSE list_filter(found.events, lambda one, place: list_position(found.events, one) = place) END"
)
"""Each event once, where it stands first."""


def schema_of(ask: Ask, recipe: Recipe) -> pa.Schema:
    """What the recipe's query gives. Raises `RecipeRefused` where that is not what a recipe needs, or where the recipe
    speaks of columns that are none."""
    with ask(_inner(recipe), recipe.parameters):
        pass  # it is a whole query, by itself
    with ask(f"SELECT * FROM ({_inner(recipe)}\n) AS found WHERE false", recipe.parameters) as batches:
        schema: pa.Schema = next(batches).schema
    check(recipe, schema)
    return schema


def selection(recipe: Recipe, schema: pa.Schema) -> str:
    """The query of the dataset's rows; `schema` is of the recipe's own."""
    subjects = "CASE WHEN told.subject IS NULL THEN [] ELSE [told.subject] END"
    if SUBJECTS in schema.names:
        subjects = f"coalesce(found.{SUBJECTS}, {subjects})"
    kept_together = "'session/' || coalesce(told.root, found.session)"
    if recipe.split.by == "subject":
        kept_together = f"coalesce('subject/' || told.subject, {kept_together})"
    columns = [f"{_UNIQUE_EVENTS} AS events" if name == "events" else f"found.{quoted(name)}" for name in schema.names]
    others = [f"found.{quoted(name)}" for name in schema.names if name not in ("session", "events")]
    order = [PLACE, "found.session", "try_cast(split_part(events[1], '@', 2) AS BIGINT)", "events", *others]
    return (
        f"SELECT {', '.join(columns)}, {place_sql(kept_together, recipe.split)} AS {PLACE}, {subjects} AS {WHOM}, "
        f"told.purpose IS NOT DISTINCT FROM 'evaluation' AS {JUDGES}\n"
        f"FROM ({_inner(recipe)}\n) AS found LEFT JOIN sessions AS told ON told.session = found.session\n"
        f"ORDER BY {', '.join(order)}"
    )


class Selected:
    """The rows of a selection, split by split, without those of sessions that judge models unless `evaluations`."""

    def __init__(self, batches: Iterable[pa.RecordBatch], *, splits: Iterable[str], evaluations: bool) -> None:
        self._batches = batches
        self._splits = tuple(splits)
        self._evaluations = evaluations
        self.left_out = 0
        self.left_out_sessions: set[str] = set()

    def __iter__(self) -> Iterator[Rows]:
        for batch in self._batches:
            if not batch.num_rows:
                continue
            if not self._evaluations:
                batch = self._without_evaluations(batch)
            _check_sources(batch)
            names = [name for name in batch.schema.names if name not in (PLACE, WHOM, JUDGES)]
            for place, start, stop in runs(batch.column(PLACE)):
                part = batch.slice(start, stop - start)
                split = self._splits[place]
                column = pa.repeat(pa.scalar(split), stop - start)
                yield Rows(split, part.select(names).append_column(SPLIT, column), part.column(WHOM))

    def _without_evaluations(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        judges = batch.column(JUDGES)
        if not (found := judges.true_count):
            return batch
        self.left_out += found
        self.left_out_sessions.update(pc.unique(batch.column("session").filter(judges)).to_pylist())
        return batch.filter(pc.invert(judges))


def _inner(recipe: Recipe) -> str:
    return recipe.query.strip().removesuffix(";")


def _check_sources(batch: pa.RecordBatch) -> None:
    """Every row says where it came from."""
    events = batch.column("events")
    if batch.column("session").null_count or events.null_count or pc.min(pc.list_value_length(events)).as_py() == 0:
        raise RecipeRefused(
            "a row has no session or no events, and where it came from cannot be said. Nothing was written"
        )
