"""Which sessions a question is about, where it says so: then only the files that can hold their rows are opened.

Knows DuckDB's parsed tree; knows neither files nor logs. Invariant: a view is narrow only where every place that reads
it asks for one stream, so leaving out the rows of all others changes no answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Node: TypeAlias = Mapping[str, object]

SESSION: Final = "session/"
COLUMNS: Final = ("session", "stream")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The stream that a column must say: a text, or the value of a parameter."""

    column: str
    text: str | None
    parameter: str | None

    def stream(self, given: Mapping[str, object]) -> str | None:
        """None for a value that is no text."""
        value = given.get(self.parameter) if self.parameter is not None else self.text
        if not isinstance(value, str):
            return None
        return f"{SESSION}{value}" if self.column == "session" else value


def wanted(select: Node) -> Wanted | None:
    """Which stream a SELECT asks for of the table that it reads, and nothing but that table."""
    table = select.get("from_table")
    if not isinstance(table, dict) or table["type"] != "BASE_TABLE" or table["column_name_alias"]:
        return None
    own = str(table["alias"] or table["table_name"]).lower()
    for left, right in _equal(select.get("where_clause")):
        *of, column = _column(left) or [""]
        if column not in COLUMNS or of not in ([], [own]):
            continue
        literal = right.get("literal")
        if right.get("class") == "PARAMETER":
            return Wanted(column, None, str(right["identifier"]))
        if isinstance(literal, dict) and literal["kind"] == "STRING":
            return Wanted(column, str(literal["text"]), None)
    return None


def _equal(clause: object) -> Iterator[tuple[Node, Node]]:
    """The equalities that must all hold, each from both sides."""
    left: list[object] = [clause]
    while left:
        node = left.pop()
        if not isinstance(node, dict):
            continue
        if node["type"] == "CONJUNCTION_AND":
            left.extend(node["children"])
        elif node["type"] == "COMPARE_EQUAL":
            yield node["left"], node["right"]
            yield node["right"], node["left"]


def _column(node: Node) -> list[str] | None:
    names = node.get("column_names")
    return [str(name).lower() for name in names] if isinstance(names, list) else None
