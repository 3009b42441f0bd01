"""`aether trace show`: a session's cycles as trees of spans, a page at a time.

Invariant: the last line says how to see the rest, and every cycle that is named can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, talk

if TYPE_CHECKING:
    from rich.text import Text

    from runtime.telemetry.timeline import Cycle
    from telemetry.log import EventLog, Head
    from telemetry.otel.span import Span


@command
def show(
    session: Annotated[str, typer.Argument(help="Id of the session, as `aether session list` prints it.")],
    cycle: Annotated[int | None, typer.Option(min=1, metavar="CYCLE", help="Only this cycle.")] = None,
    after: Annotated[int, typer.Option(min=0, metavar="CYCLE", help="Begin after this cycle.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Cycles on a page.")] = 10,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Draw a session's timeline: what each cycle decided, and its phases, model calls and effects with how long they
    took, how they ended and how surprising what was seen was.

    A fork's timeline begins with the cycles that it shares. With --json a row is a span, with all its attributes.

    Example: aether trace show 7f3a9c01d2e4 --cycle 3
    """
    from runtime.sessions import stream_of
    from runtime.telemetry.timeline import Page, cycle_of, timeline

    with reading(log) as store:
        stream = stream_of(session)
        if cycle is None:
            page = timeline(store, session, after=after, limit=limit)
        else:
            page = Page((cycle_of(store, session, cycle),), None)
        head = store.head(stream)
        assert head is not None, "a session whose cycles were found has a head"
        row = _about(store, head)
        origin = store.origin(stream)
        as_of = store.position()
    forked = None if origin is None else f"{origin.parent}@{origin.at_version}"
    if as_json:
        rows = [_row(one.number, span) for one in page.cycles for span in one.spans]
        rows += [_row(0, span) for one in page.cycles for span in one.between]
        following = None if page.following is None else str(page.following)
        decided = [_decided(one) for one in page.cycles]
        more = {"session": row, "forked_from": forked, "cycles": decided}
        answer(rows, as_of=as_of, next_after=following, more=more)
        return
    _print(row, forked, page.cycles)
    if not page.cycles:
        talk(f"no cycle after {after}" if after else "no cycle has begun yet")
    if page.following is not None:
        size = "" if limit == 10 else f" --limit {limit}"
        typer.echo(f"\nMore: aether trace show {row['session']} --after {page.following}{size}")


def _about(store: EventLog, head: Head) -> dict[str, object]:
    """The session's row; of one whose payloads are withheld, its name and version."""
    from runtime.sessions import PREFIX, row_of
    from telemetry.errors import InvalidEvent

    try:
        return row_of(store, head).model_dump()
    except InvalidEvent:
        return {"session": head.stream.removeprefix(PREFIX), "version": head.version}


def _print(row: Mapping[str, object], forked: str | None, cycles: tuple[Cycle, ...]) -> None:
    from rich.console import Console
    from rich.text import Text

    from runtime.cli.trace.drawing import drawn
    from runtime.people.chat import clean
    from runtime.sessions import PREFIX

    console = Console()

    def line(text: Text) -> None:
        if console.is_terminal:  # a line stays a line
            console.print(text, no_wrap=True, overflow="ellipsis")
        else:  # nothing is cut off
            console.print(text, soft_wrap=True)

    about = [str(row[field]) for field in ("session", "scenario", "status", "outcome") if row.get(field)]
    if (cycles_closed := row.get("cycles")) is not None:
        about.append(f"{cycles_closed} {'cycle' if cycles_closed == 1 else 'cycles'}")
    line(Text("  ".join(clean(part) for part in about), style="bold"))
    if forked is not None:
        line(Text(f"forked from {forked}", style="dim"))
    for cycle in cycles:
        line(Text())
        for one in drawn(cycle, of=f"{PREFIX}{row['session']}"):
            line(one)


def _decided(cycle: Cycle) -> dict[str, object]:
    from runtime.why import told

    action = cycle.decided
    return {
        "cycle": cycle.number,
        "stream": cycle.stream,
        "decision": cycle.decision,
        "decided": None if action is None else told(action),
    }


def _row(cycle: int, span: Span) -> dict[str, object]:
    """A span; ids as W3C writes them, times in UTC ns. Of cycle 0 is what stands in none."""
    return {
        "cycle": cycle,
        "trace_id": f"{span.trace_id:032x}",
        "span_id": f"{span.span_id:016x}",
        "parent_id": None if span.parent_id is None else f"{span.parent_id:016x}",
        "name": span.name,
        "start_ns": span.start,
        "duration_ns": span.end - span.start,
        "error": span.error,
        "attributes": dict(span.attributes),
        "events": [{"name": e.name, "at_ns": e.at, "attributes": dict(e.attributes)} for e in span.events],
        "links": [
            {"trace_id": f"{o.trace_id:032x}", "span_id": f"{o.span_id:016x}", "attributes": dict(o.attributes)}
            for o in span.links
        ],
    }
