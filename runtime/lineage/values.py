"""What a walk over the log finds: events, models and sessions, and how one led to the other.

Knows ids and words. Invariant: every id opens again, whichever way it was come by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from runtime.errors import NotFound
from runtime.models.learnt import Learnt
from telemetry.errors import EventError, EventsPruned, LogDamaged, StreamNotFound
from telemetry.events.values import ModelId

Kind = Literal["event", "decision", "session", "model"]

MISSING = (EventError, EventsPruned, LogDamaged, StreamNotFound, NotFound)
"""What reading raises where a link leads to nothing that is there; it is said at its place."""

Shelf = Callable[[ModelId], Learnt | None]
"""What the registry of this machine has of a model; None where it has it not."""


@dataclass(frozen=True, slots=True)
class Node:
    """An event by its id, a session or a model. `missing`: it is not to be found here, and `text` says why."""

    id: str
    kind: Kind
    text: str
    missing: bool = False
    links: tuple[Links, ...] = ()


@dataclass(frozen=True, slots=True)
class Links:
    """What a node leads to: the first of `count` nodes. `said` is what there is to know of the count."""

    how: str
    nodes: tuple[Node, ...]
    count: int
    said: str = ""


class Edge(NamedTuple):
    """A link as a row."""

    before: str
    how: str
    after: str


def one(how: str, node: Node) -> Links:
    return Links(how, (node,), 1)


def tried(id_: str, kind: Kind, make: Callable[[], Node]) -> Node:
    """What `make` makes, or a node that says why there is none."""
    try:
        return make()
    except MISSING as error:
        return Node(id_, kind, str(error), missing=True)


def nodes(root: Node) -> Iterator[Node]:
    """`root` and all that it leads to, each id once, the fullest first that is met."""
    found: dict[str, Node] = {}
    for node in _walked(root):
        if node.id not in found or len(node.links) > len(found[node.id].links):
            found[node.id] = node
    return iter(found.values())


def edges(root: Node) -> Iterator[Edge]:
    """Every link once."""
    found = (
        Edge(node.id, links.how, after.id) for node in _walked(root) for links in node.links for after in links.nodes
    )
    return iter(dict.fromkeys(found))


def _walked(root: Node) -> Iterator[Node]:
    yield root
    for links in root.links:
        for node in links.nodes:
            yield from _walked(node)
