"""`aether dataset build`: a recipe, run over the log as it stood at a position."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from runtime.cli.output import Json, LogUrl, answer, command, talk

if TYPE_CHECKING:
    from runtime.telemetry.datasets import Done
    from telemetry.datasets.manifest import Manifest

MEGABYTE = 1024 * 1024


class Format(StrEnum):
    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"
    HUGGINGFACE = "huggingface"


@command
def build(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="NAME|RECIPE.toml|FOLDER",
            help="A shipped recipe, a file, or a dataset to be built again from its own pin.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder it becomes.  [default: NAME-at-POSITION in this folder]"),
    ] = None,
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="huggingface: shards, as the hub has them.  [default: the recipe's]"),
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(min=0, metavar="POSITION", help="The log as it stood there.  [default: the recipe's, or now]"),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the recipe; may be given again."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the splits.  [default: the recipe's]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="To work with.  [default: the CPUs]")] = None,
    memory_mib: Annotated[
        int, typer.Option("--memory", min=64, metavar="MIB", help="What the query may take before it goes to disk.")
    ] = 1024,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Build a dataset from the log: rows of the recipe's query, split by session, with a manifest and a card.

    The same recipe at the same position gives the same rows, and so the same digest, on any number of threads. All rows
    of a session and its forks are in one split. Sessions that judge models are left out and counted. The folder appears
    whole or not at all; one that is there is left alone, and refused if it is not this dataset.

    Recipes: active-inference, execution-feedback, world-modelling, episodic-retrieval, conversation.

    Example: aether dataset build conversation --format huggingface --out talks
    """
    from runtime.settings import read_settings
    from runtime.telemetry import datasets
    from telemetry.query.engine import Limits

    asked = datasets.wanted(recipe)
    changed = datasets.changed(
        asked.recipe, parameters=parameters or (), seed=seed, format_=None if format_ is None else format_.value
    )
    settings = read_settings({"log": log}).settings
    limits = Limits(memory_bytes=memory_mib * MEGABYTE, threads=threads or os.cpu_count() or 1)
    with _bar(changed.name, quiet=as_json) as bar:
        done = datasets.build(
            settings,
            changed,
            at=asked.at if at is None else at,
            out=out,
            limits=limits,
            seen=bar.seen,
            told=bar.told,
            said=talk,
        )
    _finish(done, as_json=as_json)


class _Bar(NamedTuple):
    seen: Callable[[int, int], None]
    """Events that were made into rows, and of how many."""
    told: Callable[[int], None]
    """Rows that are written."""


@contextmanager
def _bar(name: str, *, quiet: bool) -> Iterator[_Bar]:
    """A bar on a terminal, nothing elsewhere: the log as it is read, then rows as they are written."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"), TimeElapsedColumn())
    live = not quiet and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not live) as progress:
        task = progress.add_task(f"{name}: asking", total=None, done="")

        def seen(events: int, of: int) -> None:
            said = f"{events:,} of {of:,} events"
            progress.update(task, description=f"{name}: reading the log", completed=events, total=of, done=said)

        def told(rows: int) -> None:
            progress.update(task, description=f"{name}: writing", total=None, done=f"{rows:,} rows")

        yield _Bar(seen, told)


def _finish(done: Done, *, as_json: bool) -> None:
    made = done.built.manifest
    if as_json:
        row = {**summary(made), "folder": str(done.built.folder), "event": done.event, "new": done.built.new}
        answer([row], as_of=made.pinned_position)
    else:
        for line in lines(made):
            typer.echo(line)
        typer.echo(f"folder      {done.built.folder}" + ("" if done.built.new else "  (it was there already)"))
        typer.echo(f"event       {done.event}")
    if not made.rows:
        talk("aether: the recipe's query gives no rows as of this position")
    empty = [name for name, counts in made.splits.items() if not counts.rows and made.recipe.split.shares[name]]
    if empty and made.rows:
        talk(
            f"aether: nothing is in the split {' and '.join(empty)}: the hashes of so few sessions fell elsewhere. "
            "Another --seed divides otherwise"
        )


def summary(made: Manifest) -> dict[str, object]:
    """A dataset as a row of JSON."""
    return {
        "dataset": made.recipe.id,
        "rows": made.rows,
        "digest": made.digest,
        "pinned_position": made.pinned_position,
        "log": made.log,
        "format": made.format,
        "splits": {name: counts.model_dump(mode="json") for name, counts in made.splits.items()},
        "evaluations": made.evaluations.model_dump(mode="json"),
        "filter": made.filter.model_dump(mode="json"),
        "files": [one.model_dump(mode="json") for one in made.files],
    }


def lines(made: Manifest) -> Iterator[str]:
    """A dataset for people."""
    sessions = sum(counts.sessions for counts in made.splits.values())
    size = sum(one.bytes for one in made.files)
    yield f"dataset     {made.recipe.id}: {made.rows:,} rows of {sessions:,} sessions"
    yield f"digest      {made.digest}"
    yield f"pinned to   position {made.pinned_position:,} of log {made.log}"
    for name, counts in made.splits.items():
        yield f"  {name:<10}{counts.rows:>9,} rows  {counts.sessions:>6,} sessions"
    if made.evaluations.rows:
        yield f"left out    {made.evaluations.rows:,} rows of {made.evaluations.sessions:,} evaluations"
    yield f"files       {len(made.files)} of {made.format}, {size / MEGABYTE:,.1f} MiB"
