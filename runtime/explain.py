"""Turns a validation error of a TOML file into file, line and the nearest known name.

Knows TOML's table headers and pydantic's error locations; parses nothing (that was done already)."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Sequence
from typing import Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Location = Sequence[str | int]


def explain_validation(error: ValidationError, model: type[BaseModel], *, text: str, source: str) -> str:
    """One line a problem: `maze.toml:7: unknown key 'frame'; did you mean 'frames'?`."""
    return "\n".join(
        f"{source}:{line_of(text, problem['loc'])}: {_say(problem['type'], problem['msg'], problem['loc'], model)}"
        for problem in error.errors(include_url=False)
    )


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?` or, where nothing is near, the names there are."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(sorted(known))}"


def line_of(text: str, location: Location) -> int:
    """The 1-based line where the key at `location` stands, or that of the nearest table around it, else 1."""
    best, depth = 1, 0
    for number, path in _keys(text):
        shared = 0
        for have, want in zip(path, location, strict=False):
            if have != want:
                break
            shared += 1
        if shared > depth:
            best, depth = number, shared
    return best


_HEADER = re.compile(r"^\s*(\[{1,2})\s*([^\]]+?)\s*\]{1,2}")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_\-.]|"[^"]*"|'[^']*')+)\s*=""")


def _keys(text: str) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    table: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = ()
            *outer, last = _split(header[2])
            for part in outer:
                table = (*table, part)
                if table in counts:  # a table inside the latest table of an array
                    table = (*table, counts[table])
            table = (*table, last)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield number, table
        elif key := _KEY.match(line):
            yield number, (*table, *_split(key[1]))


def _split(dotted: str) -> tuple[str | int, ...]:
    return tuple(part.strip(" \"'") for part in dotted.split("."))


def _say(kind: str, message: str, location: Location, model: type[BaseModel]) -> str:
    where = ".".join(map(str, location))
    if kind == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        hint = nearest(str(location[-1]), tuple(owner.model_fields)) if owner else ""
        return f"unknown key {where!r}{hint}"
    return f"{where}: {message.removeprefix('Value error, ')}" if where else message.removeprefix("Value error, ")


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    at: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or at is None:
            continue
        field = at.model_fields.get(part)
        at = _model_in(field.annotation) if field else at
    return at


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple, list, dict):
        return next((m for m in map(_model_in, get_args(annotation)) if m), None)
    return None
