"""Questions that are kept under a name: SQL with a head that says what it tells and what it asks for.

    -- What a session did, event by event.
    -- $session text: Its id.
    -- $least double = 0.0: Only what took so many milliseconds.
    SELECT …

Knows text and folders; knows no rows. Invariant: of one that was read, the head names every `$name` of the SQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from telemetry.errors import InvalidQuery
from telemetry.query.complaints import nearest
from telemetry.query.statement import Scalar, read_statement

SHIPPED: Final = Path(__file__).parent
SUFFIX: Final = ".sql"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

_PARAMETER: Final = re.compile(r"\$(\w+)\s+(\w+)\s*(?:=\s*(.*?)\s*)?:\s+(.+)")


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _time(text: str) -> datetime:
    """UTC without a zone, as the views have it."""
    given = datetime.fromisoformat(text)
    return given if given.tzinfo is None else given.astimezone(UTC).replace(tzinfo=None)


TYPES: Final[Mapping[str, Callable[[str], Scalar]]] = {
    "text": str,
    "int": int,
    "double": float,
    "bool": _flag,
    "time": _time,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str
    meaning: str
    default: str | None
    """As it is written; None where a value must be given."""

    def value(self, text: str) -> Scalar:
        """Raises `InvalidQuery` for what is not of its type; `null` is a missing value."""
        if text == "null":
            return None
        try:
            return TYPES[self.type](text)
        except (KeyError, ValueError):
            raise InvalidQuery(f"${self.name} is of type {self.type}, and {text!r} is not") from None


@dataclass(frozen=True, slots=True)
class Saved:
    name: str
    about: str
    parameters: tuple[Parameter, ...]
    sql: str
    views: tuple[str, ...]
    file: Path

    def values(self, given: Mapping[str, str]) -> dict[str, Scalar]:
        """What to answer it with. Raises `InvalidQuery` for a parameter that is missing, unknown or of another type."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given.keys() - known.keys():
            hint = nearest(name, known) if known else "; it has none"
            raise InvalidQuery(f"the query {self.name!r} has no parameter ${name}{hint}")
        found: dict[str, Scalar] = {}
        for name, parameter in known.items():
            text = given.get(name, parameter.default)
            if text is None:
                raise InvalidQuery(
                    f"the query {self.name!r} asks for ${name}: {parameter.meaning} Try: --param {name}=…"
                )
            found[name] = parameter.value(text)
        return found


def saved_in(*folders: Path) -> dict[str, Saved]:
    """By name, in order; of one name that in the last folder. Raises `InvalidQuery` for one that cannot be meant."""
    found = {query.name: query for folder in (SHIPPED, *folders) for query in _in(folder)}
    return dict(sorted(found.items()))


def read_saved(file: Path) -> Saved:
    """Raises `InvalidQuery`, `QueryRefused`, with the file in front."""
    text = file.read_text(encoding="utf-8")
    about, parameters = [], []
    for line in _head(text):
        if line.startswith("$"):
            parameters.append(_parameter(line, file))
        elif line:
            about.append(line)
    statement = read_statement(text)
    described = {parameter.name for parameter in parameters}
    if described != statement.parameters:
        wrong = ", ".join(f"${name}" for name in sorted(described ^ statement.parameters))
        raise InvalidQuery(f"{file}: {wrong} stands in the head or in the SQL, and not in the other")
    return Saved(file.stem, " ".join(about), tuple(parameters), text, statement.views, file)


def _in(folder: Path) -> Iterator[Saved]:
    for file in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        if not NAME.fullmatch(file.stem):
            raise InvalidQuery(f"{file}: a query's name is of small letters, digits, '-' and '_'")
        yield read_saved(file)


def _head(text: str) -> Iterator[str]:
    """Its first lines, as far as they are comments."""
    for line in text.splitlines():
        if not line.startswith("--"):
            return
        yield line.removeprefix("--").strip()


def _parameter(line: str, file: Path) -> Parameter:
    found = _PARAMETER.fullmatch(line)
    if found is None:
        raise InvalidQuery(
            f"{file}: a parameter is written `-- $name type [= default]: What it means.`, not `-- {line}`"
        )
    name, type_, default, meaning = found.groups()
    if type_ not in TYPES:
        raise InvalidQuery(f"{file}: ${name} is of no type {type_!r}{nearest(type_, TYPES)}")
    parameter = Parameter(name, type_, meaning, default)
    if default is not None:
        parameter.value(default)
    return parameter
