"""Writes the pages of docs/ that follow from the code: `python docs/render.py`. A test says when they are stale.

Knows the event vocabulary, the scenario's settings and what becomes of events in OpenTelemetry; states nothing of its
own."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runtime.scenario import Scenario
from runtime.settings import BORROWED, Settings
from telemetry.events.registry import CLASSES
from telemetry.otel import names
from telemetry.otel.spans.rules import RULES
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.kinds import COMMON, SQL, VERSION, Column

HERE = Path(__file__).parent


def events() -> str:
    """docs/events.md: every event, its schema and its fields."""
    lines = [
        "# The event vocabulary",
        "",
        "Rendered from `telemetry/events` by `python docs/render.py`. Its JSON Schema: `aether log schema`.",
    ]
    phase = ""
    for name, kind in CLASSES.items():
        if name.partition(".")[0] != phase:
            phase = name.partition(".")[0]
            lines += ["", f"## {phase}", "", "| event | schema | meaning | fields |", "|---|---|---|---|"]
        fields = ", ".join(f"`{field}`" for field in kind.model_fields if field != "type")
        lines.append(f"| `{name}` | {kind.SCHEMA} | {_sentence(kind)} | {fields} |")
    return "\n".join(lines) + "\n"


def settings() -> str:
    """docs/settings.md: every key of a scenario and of this machine's settings."""
    lines = [
        "# Scenarios and settings",
        "",
        "Rendered from the code by `python docs/render.py`. An unknown key is an error that names the nearest one.",
        "",
        "## A scenario (`SCENARIO.toml`)",
        "",
        *_table(Scenario),
        "",
        "## This machine (`aether.toml`, `AETHER_*`, flags)",
        "",
        "Later ones win: defaults, then `aether.toml` in the working folder, then the environment (`AETHER_HOME` for",
        "`home`), then flags. Names of others count where ours is not set: "
        + ", ".join(f"{theirs} for AETHER_{ours.upper()}" for theirs, ours in BORROWED.items())
        + ".",
        "The keys of endpoints are read from the environment where they are used and nowhere else.",
        "`aether doctor` prints each value and where it came from.",
        "",
        *_table(Settings),
    ]
    return "\n".join(lines) + "\n"


def traces() -> str:
    """docs/traces.md: every kind of row and its columns."""
    lines = [
        "# Rows of traces",
        "",
        "Rendered from `telemetry/query/rows` by `python docs/render.py`: what `aether trace query` asks and",
        f"`aether trace export --parquet` writes, version {VERSION}. How they come about: [telemetry](telemetry.md).",
        "",
        "A row is made once and never changed. As of position P there are exactly the rows with `position` ≤ P.",
        "",
        *_columns("Every kind", COMMON),
        "",
        "`events` lacks `sources`.",
    ]
    for kind in KINDS.values():
        lines += ["", f"## {kind.name}", "", f"{kind.meaning} A row comes {kind.emitted}.", ""]
        lines += _columns(kind.name, kind.own)
    return "\n".join(lines) + "\n"


def _columns(name: str, columns: Sequence[Column]) -> Iterator[str]:
    yield f"| {name} | type | meaning |"
    yield "|---|---|---|"
    for column in columns:
        said = "JSON" if column.json else SQL[column.type]
        yield f"| `{column.name}` | {said}{', or null' if column.null else ''} | {column.meaning} |"


def telemetry() -> str:
    """docs/telemetry.md with its tables; the rest of the page is written by hand."""
    page = (HERE / "telemetry.md").read_text(encoding="utf-8")
    for what, lines in (("what becomes of each event", _spans()), ("what is measured", _measures())):
        mark = f"<!-- rendered: {what} -->"
        before, _, rest = page.partition(mark)
        page = "\n".join((before + mark, "", *lines, "", mark + rest.partition(mark)[2]))
    return page


def _spans() -> Iterator[str]:
    yield "| event | becomes | attributes | where content may leave |"
    yield "|---|---|---|---|"
    for name in CLASSES:
        rule = RULES[name]
        yield f"| `{name}` | {rule.shows} | {_named(rule.attributes)} | {_named(rule.content)} |"


def _measures() -> Iterator[str]:
    yield "| metric | kind | unit | what | attributes |"
    yield "|---|---|---|---|---|"
    for one in (*names.MEASURES, *names.WATCHED):
        yield f"| `{one.name}` | {SHAPES[one.kind]} | `{one.unit}` | {one.description} | {_named(one.attributes)} |"


SHAPES = {"counter": "counter", "net": "sum that can fall", "histogram": "histogram", "gauge": "gauge"}


def _named(attributes: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(attributes)) or "–"


def _table(model: type[BaseModel]) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for path, field, owner in _fields(model, ""):
        default = "required" if field.is_required() else f"`{_shown(field)}`"
        yield f"| `{path}` | {default} | {_doc(owner, field, path)} |"


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        inner, many = _inner(field.annotation)
        if inner is None:
            yield prefix + (field.alias or name), field, model
        else:
            yield from _fields(inner, f"{prefix}{name}{many}.")


def _inner(annotation: object) -> tuple[type[BaseModel] | None, str]:
    """The settings model in an annotation, and how its table is written: `x.`, `x[].`, `x.NAME.`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    mark = {tuple: "[]", dict: ".NAME"}.get(typing.get_origin(annotation) or object, "")
    if typing.get_origin(annotation) in (tuple, dict, typing.Union, types.UnionType):
        for argument in typing.get_args(annotation):
            found, _ = _inner(argument)
            if found is not None:
                return found, mark
    return None, ""


def _shown(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the user's data folder"
    return "none" if field.default is None else repr(field.default).replace("'", '"')


def _doc(owner: type[BaseModel], field: FieldInfo, path: str) -> str:
    name = path.rpartition(".")[2]
    body = inspect.getsource(owner)
    after = body.partition(f"    {name}:")[2].partition("\n")[2].lstrip()
    said = after.partition('"""')[2].partition('"""')[0].replace("|", "\\|") if after.startswith('"""') else ""
    choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is typing.Literal else ()
    listed = " | ".join(f'"{choice}"' for choice in choices).replace("|", "\\|")
    return " ".join(" ".join((listed and f"{listed}.", field.description or said)).split())


def _sentence(kind: type[BaseModel]) -> str:
    return " ".join((inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]).split())


PAGES = {"events.md": events, "settings.md": settings, "traces.md": traces, "telemetry.md": telemetry}


def main() -> None:
    for name, render in PAGES.items():
        (HERE / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
