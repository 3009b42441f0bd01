"""`aether dataset list` and `aether dataset show`: which were built, which recipes there are, and whether a folder is
what was written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.dataset.build import lines, summary
from runtime.cli.output import Json, LogUrl, answer, command, reading, table, told_of

if TYPE_CHECKING:
    from runtime.telemetry.datasets import Entry
    from telemetry.datasets.recipe import Recipe

COLUMNS = ("dataset", "rows", "position", "digest", "built")
DIGITS, DAY = 12, 10
"""So much of a digest and of a time is shown, for a row to fit a terminal of 80 columns; --json has all of them."""


@command
def list_datasets(
    name: Annotated[
        str | None, typer.Argument(help="Every build of this dataset.  [default: the newest of each]")
    ] = None,
    recipes: Annotated[bool, typer.Option("--recipes", help="The shipped recipes instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows on a page.")] = 100,
    after: Annotated[str, typer.Option(metavar="NAME", help="Begin after this dataset.")] = "",
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """List the datasets that were built from a log, or the recipes that are shipped.

    Example: aether dataset list --recipes
    """
    from runtime.telemetry.datasets import known, page

    if recipes:
        _list_recipes(as_json=as_json)
        return
    untold: list[str] = []
    with reading(log) as store:
        if name is None:
            found, following = page(store, after=after, limit=limit, untold=untold.append)
        else:
            found, following = known(store, name), None
        as_of = store.position()
    told_of(untold, what="datasets")
    rows = [_row(one) for one in found]
    if as_json:
        answer(rows, as_of=as_of, next_after=following)
        return
    if not rows:
        typer.echo("No dataset was built from this log. Build one: aether dataset build NAME; recipes: --recipes")
        return
    table([{**row, "digest": str(row["digest"])[:DIGITS], "built": str(row["built"])[:DAY]} for row in rows], COLUMNS)
    if following is not None:
        typer.echo(f"\nMore: aether dataset list --after {following}")


def _row(entry: Entry) -> dict[str, object]:
    return {
        "dataset": entry.built.recipe,
        "rows": entry.built.rows,
        "position": entry.built.pinned_position,
        "digest": entry.built.digest,
        "built": datetime.fromtimestamp(entry.at // 10**9, UTC).isoformat(),
        "event": entry.event,
    }


def _list_recipes(*, as_json: bool) -> None:
    from runtime.telemetry.datasets import read_recipe
    from telemetry.datasets.recipe import shipped

    found = [(read_recipe(path), path) for path in shipped().values()]
    rows = [{"recipe": recipe.name, "rows_are": _first_words(recipe), "file": str(path)} for recipe, path in found]
    if as_json:
        answer(rows, as_of=None)
    else:
        table(rows, ("recipe", "rows_are"))


def _first_words(recipe: Recipe) -> str:
    """What a row is: the first clause of what the recipe says of itself."""
    return " ".join(recipe.about.split()).partition(":")[0].removeprefix("One row for ")


@command
def show(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|NAME|RECIPE.toml",
            help="A dataset's folder (./NAME if a recipe has that name), or a recipe.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show a dataset and check its files against its manifest, or show what a recipe would build.

    Example: aether dataset show conversation-at-4812
    """
    from runtime.telemetry.datasets import is_folder, wanted

    if is_folder(dataset):
        _show_folder(Path(dataset), as_json=as_json)
    else:
        _show_recipe(wanted(dataset).recipe, as_json=as_json)


def _show_folder(folder: Path, *, as_json: bool) -> None:
    from telemetry.datasets.manifest import altered, read_manifest
    from telemetry.errors import DatasetDamaged

    made = read_manifest(folder)
    if gone := altered(folder, made):
        raise DatasetDamaged(
            f"files of {folder} are not what was written, or are gone: {', '.join(gone)}. The others are intact. "
            f"Build it again: aether dataset build {folder} --out DIR"
        )
    if as_json:
        answer([{**summary(made), "fields": [one.model_dump(mode="json") for one in made.fields]}], as_of=None)
        return
    for line in lines(made):
        typer.echo(line)
    typer.echo("fields")
    for field in made.fields:
        missing = sum(counts.missing.get(field.name, 0) for counts in made.splits.values())
        typer.echo(f"  {field.name:<22} {field.type:<14} " + (f"{missing:,} missing" if missing else ""))
    typer.echo("intact      every file is what was written")


def _show_recipe(recipe: Recipe, *, as_json: bool) -> None:
    if as_json:
        answer([{**recipe.model_dump(mode="json"), "id": recipe.id}], as_of=None)
        return
    shares = ", ".join(f"{name} {share:.0%}" for name, share in recipe.split.shares.items())
    typer.echo(f"recipe      {recipe.id}")
    typer.echo(f"format      {recipe.format}")
    typer.echo(f"splits      by {recipe.split.by}, seed {recipe.split.seed}: {shares}")
    for name, value in recipe.parameters.items():
        typer.echo(f"parameter   --set {name}={value}")
    typer.echo(f"\n{recipe.about.strip()}\n\nfields")
    for name, meaning in recipe.fields.items():
        typer.echo(f"  {name:<22} {meaning}")
    typer.echo(f"\n{recipe.query.strip()}")
