"""A cycle drawn for a terminal: its spans as a tree, each with its length, when it was, and what came of it.

Knows the names of attributes and how they read; knows no log. Invariant: a span is one line, and nothing in it obeys a
terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from runtime.people.chat import clean
from runtime.telemetry.timeline import Cycle
from runtime.why import shortened, told
from telemetry.events.values import Action, Move
from telemetry.otel import names
from telemetry.otel.span import Attribute, Span, SpanEvent

BAR = 16
"""Columns in which a cycle's time is drawn."""

UNITS: Final = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))

Say = Callable[[Attribute], str]


def drawn(cycle: Cycle, *, of: str) -> Iterator[Text]:
    """The lines of a cycle of the session `of`."""
    root = cycle.spans[0]
    head = Text(f"cycle {cycle.number}", style="bold")
    head.append(f"  {lasted(root.end - root.start)}", style="default")
    if cycle.decided is not None:
        head.append(f"  {_decided(cycle.decided)}", style="default")
    if cycle.stream != of:
        head.append(f"  of {cycle.stream}", style="dim")
    if names.UNFINISHED in root.attributes:
        head.append("  not closed", style="yellow")
    if names.WITHHELD in root.attributes:
        head.append(f"  {root.attributes[names.WITHHELD]} events cannot be read here", style="yellow")
    head.append("".join(f"  {_event(event)}" for event in root.events), style="yellow")
    yield head
    rows = list(_rows(cycle.spans, root.span_id, ""))
    name_width = max((cell_len(guide + _name(span)) for guide, span in rows), default=0)
    time_width = max((len(lasted(span.end - span.start)) for _, span in rows), default=0)
    for guide, span in rows:
        line = Text()
        line.append(guide, style="dim").append(_name(span), style="red" if span.error is not None else "default")
        line.append(" " * (name_width - cell_len(guide + _name(span)) + 2))
        line.append(lasted(span.end - span.start).rjust(time_width))
        line.append(f"  {_bar(span, root)}", style="cyan")
        if said := _said(span):
            line.append(f"  {said}", style="red" if span.error is not None else "default")
        yield line
    for span in cycle.between:
        yield Text("  ".join(part for part in (_name(span), *_told(span)) if part), style="dim")


def lasted(ns: int) -> str:
    """A length of time to three digits; a dash where none was measured."""
    if not ns:
        return "–"
    for size, unit in UNITS:
        if ns >= size:
            value = ns / size
            return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"
    return f"{ns} ns"


def _name(span: Span) -> str:
    """A tool's or a model's may be anybody's words."""
    return _one_line(span.name)


def _decided(action: Action) -> str:
    """In words; of a move as many digits as anybody reads."""
    if isinstance(action, Move) and not isinstance(action.to, int):
        return f"move {', '.join(f'{value:.3g}' for value in action.to.numpy().ravel().tolist())}"
    return _one_line(told(action))


def _rows(spans: tuple[Span, ...], parent: int, indent: str) -> Iterator[tuple[str, Span]]:
    """The spans below `parent`, depth first, each with what leads to it."""
    children = [span for span in spans if span.parent_id == parent]
    for child in children:
        last = child is children[-1]
        yield indent + ("└─ " if last else "├─ "), child
        yield from _rows(spans, child.span_id, indent + ("   " if last else "│  "))


def _bar(span: Span, root: Span) -> str:
    whole = max(root.end - root.start, 1)
    first = min(BAR - 1, (span.start - root.start) * BAR // whole)
    long = max(1, round((span.end - span.start) * BAR / whole))
    return ("·" * first + "━" * min(long, BAR - first)).ljust(BAR, "·")


def _said(span: Span) -> str:
    found = [*_told(span), *(_event(event) for event in span.events)]
    if span.error is not None:
        found.append(_one_line(span.error))
    return "; ".join(found)


def _told(span: Span) -> list[str]:
    """What its attributes say."""
    found = (say(span.attributes[name]) for name, say in _ATTRIBUTES.items() if name in span.attributes)
    return [_one_line(words) for words in found if words]


def _event(event: SpanEvent) -> str:
    if event.name != names.EVALUATION:
        return event.name
    about = event.attributes
    name, score = about[names.EVALUATION_NAME], about.get(names.SCORE)
    words = [str(name)]
    if score is not None:
        words.append(f"{score:+.2f} nats" if name == names.SURPRISE else f"{score:g}")
    words += [str(about[one]) for one in (names.SCORE_LABEL, names.EXPLANATION) if one in about]
    if names.RULES in about:
        words.append(f"({_joined(about[names.RULES])})")
    return _one_line(" ".join(words))


def _one_line(text: str) -> str:
    return clean(shortened(text))


def _joined(values: Attribute) -> str:
    return str(values) if isinstance(values, str) or not hasattr(values, "__iter__") else ", ".join(map(str, values))


def _count(one: str, many: str | None = None) -> Say:
    def say(value: Attribute) -> str:
        return f"{value} {one if value == 1 else many or one + 's'}"

    return say


_ATTRIBUTES: Final[Mapping[str, Say]] = {
    names.OBSERVATIONS: _count("observation"),
    names.ENDS_EPISODE: lambda ends: "the episode ends" if ends else "",
    names.VALENCE: lambda value: f"valence {value:+.2f}",
    names.AROUSAL: lambda value: f"arousal {value:.2f}",
    names.ALLOWED: lambda value: f"{value} allowed",
    names.PLAN_OPTIONS: _count("option"),
    names.PLAN_ENERGY: lambda value: f"free energy {value:.3g}",
    names.PROPOSALS: _count("proposal"),
    names.WHY: str,
    names.RESPONSE_MODEL: str,
    names.FINISH_REASONS: _joined,
    names.INPUT_TOKENS: lambda value: f"{value:,} tokens in" if value else "",
    names.OUTPUT_TOKENS: lambda value: f"{value:,} out" if value else "",
    names.COST: lambda value: f"${value:.4f}",
    names.GRANTED: lambda granted: "granted" if granted else "denied",
    names.TOOL_CALL_ARGUMENTS: str,
    names.OUTCOME: str,
    names.TOOL_CALL_RESULT: str,
    names.REASON: str,
    names.MODEL: str,
    names.REMEMBERED: lambda why: f"kept: {why}",
    names.SPREAD_BEFORE: lambda value: f"spread was {value:.3g}",
    names.SPREAD: lambda value: f"is {value:.3g}",
}
"""What a line says of a span, in this order."""
