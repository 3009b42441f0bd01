"""`aether model list` and `aether model show`: which trained models there are, what each was learnt from, and its
pictures."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, table, talk

if TYPE_CHECKING:
    from runtime.models.learnt import Learnt
    from runtime.models.registry.store import Kept, Registry
    from world_model.checkpoint import Artifact

COLUMNS = ("model", "promoted", "latest", "kind", "transitions", "over_copy", "trained")
FLAGS = ("promoted", "latest")


@command
def list_models(
    name: Annotated[str | None, typer.Argument(help="Only models of this name.  [default: all]")] = None,
    as_json: Json = False,
) -> None:
    """List the models of this machine, or of the URL that the setting `models` names, the latest of each name first.

    A name alone means the promoted model, else the latest.

    Example: aether model list
    """
    from runtime.models.registry.store import find, kept, registry_of
    from runtime.settings import read_settings

    registry = registry_of(read_settings().settings)
    there = kept(registry, name)
    if name is not None and not there:
        find(registry, name)
    rows = [_row(registry, one) for one in there]
    missing = [said for each in sorted({one.name for one in there}) if (said := _missing(registry, each, there))]
    if as_json:
        answer(rows, as_of=None)
    elif rows:
        marks = [{flag: flag if row[flag] else "" for flag in FLAGS} for row in rows]
        table([{**row, **marked, **_day(row)} for row, marked in zip(rows, marks, strict=True)], COLUMNS)
    else:
        typer.echo(f"There is no model in {registry.place().shown}. Train one: aether train world-model NAME")
    for said in missing:
        talk(f"aether: {said}")


def _missing(registry: Registry, name: str, there: list[Kept]) -> str | None:
    """Where what is promoted is none of them, or cannot be read, in words."""
    from runtime.errors import VerificationFailed
    from runtime.models.registry.pointers import is_of
    from runtime.models.registry.promotion import promoted

    try:
        stands = promoted(registry, name)
    except VerificationFailed as error:
        return str(error)
    if stands is None or not is_of(stands, name) or stands in {one.model for one in there}:
        return None
    return f"{stands} is promoted and is not there. Put it back, or: aether model rollback {name}"


def _row(registry: Registry, one: Kept) -> dict[str, object]:
    from runtime.models.learnt import FILE, parse_learnt
    from runtime.models.registry.store import beside

    row: dict[str, object] = {
        "model": one.model,
        "promoted": one.promoted,
        "latest": one.latest,
        "folder": str(one.folder) if one.folder.is_dir() else None,
    }
    content = beside(registry, one, FILE)
    if content is None:
        return row
    learnt = parse_learnt(content, source=f"{FILE} of {one.model}")
    return {
        **row,
        "kind": learnt.kind,
        "trained": datetime.fromtimestamp(learnt.at // 10**9, UTC).isoformat(),
        "transitions": learnt.transitions,
        "scenarios": ", ".join(learnt.scenarios),
        "over_copy": _rounded(learnt.metrics.get("error_over_copy")),
        "over_linear": _rounded(learnt.metrics.get("error_over_linear")),
    }


def _day(row: dict[str, object]) -> dict[str, object]:
    """The date alone, so that a row fits a terminal of 80 columns."""
    return {"trained": str(row["trained"])[:10]} if "trained" in row else {}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


@command
def show(
    model: Annotated[
        str, typer.Argument(metavar="NAME[@DIGEST]", help="What the name means, that one, or a folder with a slash.")
    ],
    plot: Annotated[bool, typer.Option("--plot", help="Draw its pictures.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to put them.  [default: NAME-DIGEST in this folder]"),
    ] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Check a model's content and show what it is, what it was learnt from, and how well it foresees.

    With --plot also pictures: what it foresaw against what came, its landmarks, what a goal costs from everywhere, and
    whether it knows when it errs. The first and the last need the log that it was learnt from.

    Example: aether model show maze --plot --out pictures
    """
    from runtime.errors import UsageError
    from runtime.models.learnt import read_learnt
    from runtime.models.reading import opened_model
    from runtime.models.registry.store import find, registry_of
    from runtime.settings import read_settings

    if out is not None and not plot:
        raise UsageError("--out is where --plot puts its pictures; give --plot too. Nothing was drawn")
    one = find(registry_of(read_settings().settings), model)
    artifact, learnt = opened_model(one), read_learnt(one.folder)
    pictures = _draw(one, artifact, learnt, out or Path(f"{one.name}-{one.digest}"), log) if plot else []
    if as_json:
        row = {
            **learnt.model_dump(mode="json"),
            "folder": str(one.folder),
            "latest": one.latest,
            "promoted": one.promoted,
            "layout": artifact.model.layout.model_dump(mode="json"),
            "landmarks": 0 if artifact.landmarks is None else len(artifact.landmarks),
            "pictures": [str(path) for path in pictures],
        }
        answer([row], as_of=None)
    else:
        _print(one, artifact, learnt, pictures)


def _print(one: Kept, artifact: Artifact, learnt: Learnt, pictures: list[Path]) -> None:
    from runtime.cli.train import summary

    for line in summary(learnt):
        typer.echo(line)
    if learnt.stopped is not None:
        typer.echo(f"stopped       {learnt.stopped}")
    typer.echo(f"log           {learnt.log}, positions {learnt.from_position:,} to {learnt.to_position:,}")
    typer.echo(f"data          {learnt.data}")
    typer.echo(f"sees          {artifact.model.layout.describe()}")
    typer.echo(f"landmarks     {'none' if artifact.landmarks is None else len(artifact.landmarks)}")
    libraries = ", ".join(f"{name} {found}" for name, found in learnt.versions.items())
    typer.echo(f"code          {learnt.code}, {libraries}")
    stands = [flag for flag, true in (("promoted", one.promoted), ("latest", one.latest)) if true]
    typer.echo(f"folder        {one.folder}  ({' and '.join(stands) or 'neither promoted nor the latest'} of its name)")
    if learnt.config:
        typer.echo("config")
        for name, value in sorted(learnt.config.items()):
            typer.echo(f"  {name:<16} {value}")
    if pictures:
        typer.echo("pictures")
        for path in pictures:
            typer.echo(f"  {path}")


def _draw(one: Kept, artifact: Artifact, learnt: Learnt, out: Path, log: str | None) -> list[Path]:
    from runtime.errors import Unavailable, UsageError
    from runtime.models.pictures import draw
    from runtime.models.reading import subject

    if artifact.landmarks is None:
        raise UsageError(f"{one.model} was saved without landmarks, which its pictures are drawn around")
    drawn, missing = subject(one, artifact, learnt, artifact.landmarks, log=log)
    if missing is not None:
        talk(f"aether: what needs the log is left out: {missing}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        return draw(drawn, out)
    except OSError as error:
        raise Unavailable(f"the pictures cannot be put into {out}: {error.strerror or error}") from error
