"""What can be asked about: views with their columns, and saved questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from runtime.cli.output import answer, document, talk

if TYPE_CHECKING:
    from telemetry.query.rows.kinds import Kind
    from telemetry.query.saved import Saved

Row = Mapping[str, object]


def show(name: str | None, *, as_json: bool) -> None:
    """Prints all of them, or the one of that name. Raises `NotFound`."""
    from runtime.errors import NotFound
    from runtime.explain import nearest
    from runtime.settings import read_settings
    from runtime.telemetry.query import saved_questions
    from telemetry.query.rows.catalogue import KINDS

    saved = saved_questions(read_settings().settings)
    if name is None:
        _all(list(KINDS.values()), list(saved.values()), as_json=as_json)
    elif name in saved:
        _saved(saved[name], as_json=as_json)
    elif name in KINDS:
        _view(KINDS[name], as_json=as_json)
    else:
        raise NotFound(f"there is no view or saved query {name!r}{nearest(name, (*KINDS, *saved))}")


def _all(views: Sequence[Kind], saved: Sequence[Saved], *, as_json: bool) -> None:
    if as_json:
        found: list[Row] = [{"what": "view", "name": view.name, "meaning": view.meaning} for view in views]
        found += [{"what": "saved query", **_about(one)} for one in saved]
        answer(found, as_of=None)
        return
    width = max(len(name) for name in [*(view.name for view in views), *(one.name for one in saved)])
    typer.echo("Views")
    for view in views:
        typer.echo(f"  {view.name:<{width}}  {view.meaning}")
    typer.echo("Saved queries")
    for one in saved:
        asked = "".join(f" ${p.name}" if p.default is None else f" [${p.name}]" for p in one.parameters)
        typer.echo(f"  {one.name:<{width}}  {one.about}{asked}")
    talk("Columns of a view, text of a query: aether trace query --list NAME")


def _view(kind: Kind, *, as_json: bool) -> None:
    from telemetry.query.views import type_in_sql

    found: list[Row] = [
        {"column": one.name, "type": type_in_sql(one.type), "json": one.json, "meaning": one.meaning}
        for one in kind.columns
    ]
    if as_json:
        answer(found, as_of=None, more={"view": kind.name, "meaning": kind.meaning, "emitted": kind.emitted})
        return
    typer.echo(f"{kind.name}: {kind.meaning} A row comes {kind.emitted}.\n")
    width = max(len(str(row["column"])) for row in found)
    for row in found:
        type_ = "JSON" if row["json"] else str(row["type"])
        typer.echo(f"  {row['column']:<{width}}  {type_:<10}  {row['meaning']}")


def _saved(one: Saved, *, as_json: bool) -> None:
    if as_json:
        document({**_about(one), "sql": one.sql})
    else:
        typer.echo(one.sql.rstrip())


def _about(one: Saved) -> dict[str, object]:
    asked = [{"name": p.name, "type": p.type, "default": p.default, "meaning": p.meaning} for p in one.parameters]
    return {"name": one.name, "meaning": one.about, "parameters": asked}
