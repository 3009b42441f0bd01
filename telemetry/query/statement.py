"""What may be asked: one SELECT over our views, found out before anything runs.

Knows DuckDB's parsed tree, by lists of what is allowed in it; knows no rows. Invariant: of what the lists do not name
nothing passes. The type of a statement alone says too little: `WITH x AS (COPY … TO 'file') SELECT …` is of type SELECT
to DuckDB 2.0.1, and writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, TypeAlias

import duckdb
import orjson

from telemetry.errors import InvalidQuery, QueryRefused
from telemetry.query.complaints import nearest, said
from telemetry.query.functions import BARE, CHANGING, ORDERED, REFUSED, TABLE_FUNCTIONS
from telemetry.query.narrow import Wanted, wanted
from telemetry.query.rows.catalogue import KINDS

Node: TypeAlias = Mapping[str, object]
Scalar: TypeAlias = str | int | float | bool | date | datetime | None
"""What a parameter may be."""

NODES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
"""What selects. Beside them DuckDB has nodes that insert, update, delete, merge and copy."""

SOURCES: Final = frozenset(
    {"BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY", "TABLE_FUNCTION"}
)
"""What may stand after FROM."""

MODIFIERS: Final = frozenset(
    {"DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"}
    | {"ASCENDING", "DESCENDING", "ORDER_DEFAULT"}
)

EXPRESSIONS: Final = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "DEFAULT", "FUNCTION"}
    | {"LAMBDA", "LAMBDA_REF", "OPERATOR", "PARAMETER", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW"}
)

_PLAIN: Final = NODES | SOURCES | MODIFIERS


@dataclass(frozen=True, slots=True)
class Statement:
    """One that may run."""

    sql: str
    views: tuple[str, ...]
    """Which it reads."""
    parameters: frozenset[str]
    """Names of its `$name`."""
    unsettled: tuple[str, ...]
    """What in it may answer otherwise another time over the same rows, in words."""
    narrow: Mapping[str, tuple[Wanted, ...]]
    """Of which streams it reads a view, where it reads no others."""


def read_statement(
    sql: str, *, views: Collection[str] = tuple(KINDS), parser: duckdb.DuckDBPyConnection | None = None
) -> Statement:
    """Raises `InvalidQuery` for what is not SQL, `QueryRefused` for what is not one SELECT over `views`. Nothing is
    run. `parser`: a connection to parse with, else a new one."""
    if parser is None:
        with duckdb.connect(":memory:") as own:
            return read_statement(sql, views=views, parser=own)
    parameters = _only_select(sql, parser)
    tree = _tree(sql, parser)
    walk = _Walk(views)
    walk.through(tree)
    return Statement(
        sql=sql,
        views=tuple(view for view in views if view in walk.read),
        parameters=parameters,
        unsettled=tuple(walk.unsettled),
        narrow={view: tuple(found) for view, found in walk.narrow.items() if len(found) == walk.read[view]},
    )


def _only_select(sql: str, parser: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Its parameters' names."""
    try:
        found = parser.extract_statements(sql)
    except duckdb.Error as error:
        raise InvalidQuery(said(error)) from None
    if not found:
        raise InvalidQuery("the query is empty; one looks like: SELECT type, count(*) FROM events GROUP BY type")
    if len(found) > 1:
        raise QueryRefused(f"one SELECT at a time: these are {len(found)} statements. Nothing was run")
    kind = found[0].type
    if kind == duckdb.StatementType.MULTI:
        raise QueryRefused(
            "PIVOT has to look for its columns first, which are several statements. Name them, inside a SELECT: "
            "FROM (PIVOT events ON type IN ('sense.observed') USING count(*))"
        )
    if kind != duckdb.StatementType.SELECT:
        raise QueryRefused(f"only a SELECT is answered, and this is {kind.name}. Nothing was run")
    return frozenset(str(name) for name in found[0].named_parameters)


def _tree(sql: str, parser: duckdb.DuckDBPyConnection) -> Node:
    ((text,),) = parser.execute("SELECT json_serialize_sql($1)", [sql]).fetchall()
    try:
        tree: Node = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise QueryRefused("the query is nested too deeply to be checked. Nothing was run") from None
    if tree["error"]:
        raise QueryRefused(f"the query cannot be checked: {tree.get('error_message')}. Nothing was run")
    return tree


class _Walk:
    """Through the whole tree: what is read, what is unsettled. Raises `QueryRefused` at what is not allowed."""

    def __init__(self, views: Collection[str]) -> None:
        self.read: Counter[str] = Counter()
        self.narrow: dict[str, list[Wanted]] = {}
        self.unsettled: dict[str, None] = {}
        self._views = views

    def through(self, tree: Node) -> None:
        for node, own in _nodes(tree):
            self._one(node, own)

    def _one(self, node: Node, own: frozenset[str]) -> None:
        kind, group = node.get("type"), node.get("class")
        if isinstance(group, str):
            if group not in EXPRESSIONS:
                raise _refused(f"an expression of kind {group}")
            self._expression(node, group)
        elif isinstance(kind, str):
            if kind not in _PLAIN:
                raise _refused(kind.removesuffix("_QUERY_NODE").removesuffix("_NODE"))
            self._source(node, kind, own)
        if node.get("sample"):
            self._unsettled("a sample")

    def _source(self, node: Node, kind: str, own: frozenset[str]) -> None:
        if kind == "BASE_TABLE":
            self._table(_path(node), own)
        elif kind == "TABLE_FUNCTION":
            name = _path(node["function"])[-1]
            if name.lower() not in TABLE_FUNCTIONS:
                raise _refused(f"the table function {name}()", f"; allowed are {', '.join(sorted(TABLE_FUNCTIONS))}")
        elif kind == "SHOW_REF" and not node.get("query"):
            raise _refused("SHOW", "; DESCRIBE events tells a view's columns, aether trace query --list the views")
        elif kind == "SELECT_NODE":
            if (found := wanted(node)) is not None and (path := _path(node["from_table"]))[0].lower() not in own:
                self.narrow.setdefault(path[-1].lower(), []).append(found)
            limits = {m["type"]: m for m in _dicts(node.get("modifiers"))}
            if "LIMIT_MODIFIER" in limits and "ORDER_MODIFIER" not in limits:
                self._unsettled("LIMIT without ORDER BY")

    def _table(self, path: list[str], own: frozenset[str]) -> None:
        name = path[-1].lower()
        if len(path) > 1 and path != ["main", path[-1]]:
            raise _refused(f"the table {'.'.join(path)}")
        if len(path) == 1 and name in own:
            return
        if name not in self._views:
            raise QueryRefused(f"there is no view {path[-1]!r}{nearest(path[-1], self._views)}")
        self.read[name] += 1

    def _expression(self, node: Node, group: str) -> None:
        if group == "COLUMN_REF":
            names = node["column_names"]
            if isinstance(names, list) and len(names) == 1 and str(names[0]).lower() in BARE:
                self._unsettled(str(names[0]).lower())
        elif group == "FUNCTION":
            self._function(node)
        elif group == "WINDOW" and not node.get("orders"):
            name = str(node.get("function_name"))
            if node["type"] != "WINDOW_AGGREGATE" or name in ORDERED:
                self._unsettled(f"{name}() OVER without ORDER BY")

    def _function(self, node: Node) -> None:
        name = _path(node)[-1].lower()
        if name in REFUSED:
            raise _refused(f"{name}()")
        if name in CHANGING:
            self._unsettled(f"{name}()")
        elif name == "age" and len(_dicts(node["arguments"])) == 1:
            self._unsettled("age() of one argument")
        orders = node["order_bys"]
        if name in ORDERED and not (isinstance(orders, dict) and orders["orders"]):
            self._unsettled(f"{name}() without ORDER BY inside")

    def _unsettled(self, what: str) -> None:
        self.unsettled[what] = None


def _refused(what: str, more: str = "") -> QueryRefused:
    return QueryRefused(f"a query reads our views and nothing else: {what} is not allowed{more}. Nothing was run")


def _nodes(tree: Node) -> Iterator[tuple[Node, frozenset[str]]]:
    """Every object of it, with the names that WITH gives where it stands: one of its tables sees those before it, and
    itself only where it is recursive. Else one of them could lend its name to a table of DuckDB's own."""
    left: list[tuple[object, frozenset[str]]] = [(tree, frozenset())]
    while left:
        value, own = left.pop()
        if isinstance(value, list):
            left.extend((one, own) for one in value)
        elif isinstance(value, dict):
            if "cte_name" in value:
                own |= {str(value["cte_name"]).lower()}
            ctes = value.get("cte_map")
            for entry in _dicts(ctes["map"]) if isinstance(ctes, dict) else ():
                left.append((entry["value"], own))
                own |= {str(entry["key"]).lower()}
            yield value, own
            left.extend((one, own) for key, one in value.items() if key != "cte_map")


def _path(node: object) -> list[str]:
    """The parts of a qualified name, the last one its own."""
    assert isinstance(node, dict)
    return [str(part) for part in node["qualified_name"]["path"]]


def _dicts(value: object) -> list[dict[str, object]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
