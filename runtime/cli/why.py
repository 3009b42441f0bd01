"""`aether why` and `aether model why`: the chain from a decision to what its model learnt from, and back.

Invariant: every id that is printed can be asked about next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, talk

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from runtime.lineage.values import Links, Node, Shelf
    from telemetry.log import EventLog

Limit = Annotated[int, typer.Option(min=1, help="Name so many where there are many.")]
ForwardOption = Annotated[
    bool, typer.Option("--forward", help="What came of it: who learnt from it, and who acts by that.")
]


@command
def why(
    event: Annotated[
        str,
        typer.Argument(
            metavar="EVENT", help="An event such as session/7f3a9c01d2e4@41 or model/maze@5, a session, or a model."
        ),
    ],
    forward: ForwardOption = False,
    limit: Limit = 3,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Show what a decision rests on: what was seen and judged, the model it acted by, why that one stood, its training,
    and the sessions that it learnt from.

    Of a session it is the last decision, of another event of a cycle the decision of that cycle. With --forward the
    other way: from a session or a training to the models that learnt from it, their verdicts, and who acts by them.

    Example: aether why session/7f3a9c01d2e4@41
    """
    from runtime.lineage.ask import walk

    _walk(lambda store, shelf: walk(store, event, shelf=shelf, limit=limit, forward=forward), log, as_json=as_json)


@command
def model_why(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@DIGEST]", help="A model; of a name alone the one that stands, or was trained last."
        ),
    ],
    forward: ForwardOption = False,
    limit: Limit = 3,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Show how a model came to be and to stand: its verdict, its training, and the sessions that it learnt from.

    With --forward: its verdicts, and the sessions that act by it.

    Example: aether model why maze --forward
    """
    from runtime.lineage.ask import walk_model

    _walk(
        lambda store, shelf: walk_model(store, model, shelf=shelf, limit=limit, forward=forward), log, as_json=as_json
    )


def _walk(walked: Callable[[EventLog, Shelf], Node], log: str | None, *, as_json: bool) -> None:
    from runtime.lineage.values import edges, nodes

    with reading(log) as store:
        root = walked(store, _shelf())
        as_of = store.position()
    if as_json:
        rows = [{"id": n.id, "kind": n.kind, "text": n.text, "missing": n.missing} for n in nodes(root)]
        links = [edge._asdict() for edge in edges(root)]
        answer(rows, as_of=as_of, more={"root": root.id, "links": links, "counts": list(_counts(root))})
        return
    _draw(root)
    talk("\nEach of these ids can be asked about: aether why ID [--forward]")


def _shelf() -> Shelf:
    """What the registry says of a model; no weights are fetched."""
    from runtime.errors import NotFound, Unavailable, VerificationFailed
    from runtime.models.learnt import FILE, Learnt, parse_learnt
    from runtime.models.registry.store import beside, meant, registry_of
    from runtime.settings import read_settings

    registry = registry_of(read_settings().settings)
    known: dict[str, Learnt | None] = {}

    def look(model: str) -> Learnt | None:
        if model not in known:
            try:
                content = beside(registry, meant(registry, model), FILE)
                known[model] = None if content is None else parse_learnt(content, source=f"{FILE} of {model}")
            except (NotFound, Unavailable, VerificationFailed):
                known[model] = None
        return known[model]

    return look


def _counts(root: Node) -> list[dict[str, object]]:
    """Of what there are many, how many, and what is to be known of the count."""
    found: list[dict[str, object]] = []
    for links in root.links:
        if links.count != 1 or links.said:
            found.append({"before": root.id, "how": links.how, "count": links.count, "said": links.said})
        for node in links.nodes:
            found += (row for row in _counts(node) if row not in found)
    return found


def _draw(root: Node) -> None:
    from rich.console import Console
    from rich.tree import Tree

    tree = Tree(_line("", root), guide_style="dim")
    _hang(tree, root)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(tree)


WIDE = 100_000
"""Columns where nobody looks: a line stays a line."""


def _hang(tree: Tree, node: Node) -> None:
    from rich.text import Text

    for links in node.links:
        if links.count == 1 and links.nodes and not links.said:
            _hang(tree.add(_line(links.how, links.nodes[0])), links.nodes[0])
            continue
        branch = tree.add(Text(f"{links.how} {_many(links)}"))
        for after in links.nodes:
            _hang(branch.add(_line("", after)), after)
        if links.count > len(links.nodes) > 0:
            branch.add(Text(f"… {links.count - len(links.nodes):,} more; with --limit {links.count} all are named"))


def _many(links: Links) -> str:
    said = f" ({links.said})" if links.said else ""
    return f"{links.count:,}{said}"


def _line(how: str, node: Node) -> Text:
    from rich.text import Text

    line = Text(f"{how} " if how else "")
    line.append(node.id, style="red" if node.missing else "bold")
    return line.append(f"  {'not here: ' if node.missing else ''}{node.text}")
