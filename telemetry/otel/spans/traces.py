"""From the events of a trace to its spans.

Knows the shapes of traces: a cycle, what stands between cycles, a training, an event alone. Invariant: equal events,
with equal ones before them, give equal spans; every span lies within its parent, and no id stands twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telemetry.events import Recorded
from telemetry.otel import names
from telemetry.otel.ids import cycle_span_id, trace_id
from telemetry.otel.span import Span
from telemetry.otel.spans.about import NOTHING, About, body_of
from telemetry.otel.spans.draft import Draft, Tree
from telemetry.otel.spans.drawing import Drawing, Tools
from telemetry.otel.spans.layout import layout
from telemetry.otel.spans.messages import as_json
from telemetry.otel.spans.references import REFERRED_TO, session_of
from telemetry.otel.spans.rules import RULES, UNKNOWN

PHASES: Final = frozenset({"sense", "feel", "reason", "execute", "learn"})


def cycle_spans(
    events: Sequence[Recorded],
    *,
    about: About,
    tools: Tools,
    floor: int,
    forked: bool = False,
    unfinished: bool = False,
) -> list[Span]:
    """The trace of the cycle that `events` are all of so far. `floor`: `at` of the append before it. `forked`: it is
    the first of a fork."""
    opened = events[0]
    stream, cycle = opened.stream, opened.cycle
    times = layout(events, floor)
    start = times[0][0]
    root = Draft(
        cycle_span_id(stream, cycle), None, f"{names.INVOKE_AGENT} {about.scenario}".rstrip(), start, times[-1][1]
    )
    drawing = Drawing(Tree(stream, trace_id(stream, cycle), root), about, tools)
    _agent(root, drawing, opened)
    if forked:
        drawing.link(root, about.parent, "forked_from")
    phase, named, withheld = root, "", 0
    for event, (start, end) in zip(events, times, strict=True):
        if event.phase not in PHASES:
            on = root
        elif event.phase == named:
            phase.cover(start, end)
            on = phase
        else:
            named = event.phase
            on = phase = drawing.tree.phase(event.version, named, start, end)
            phase.attributes[names.PHASE] = named
            phase.attributes[names.EVENT] = event.id
        withheld += not draw(drawing, on, event, start, end)
        if event.type in REFERRED_TO:
            tools.references.saw(event)
    if withheld:
        root.attributes[names.WITHHELD] = withheld
    if unfinished:
        root.attributes[names.UNFINISHED] = True
    if drawing.heard:
        root.attributes[names.INPUT_MESSAGES] = as_json(drawing.heard)
    if drawing.said:
        root.attributes[names.OUTPUT_MESSAGES] = as_json(drawing.said)
    return drawing.tree.spans()


def draw(drawing: Drawing, on: Draft, event: Recorded, start: int, end: int, *, alone: bool = False) -> bool:
    """Draws the event by its rule, on the span that it stands in, or on its own where it is `alone`. False where its
    content could not be read."""
    rule = RULES.get(event.type, UNKNOWN)
    found = body_of(event) if rule.reads else NOTHING
    handle = rule.alone if alone and rule.alone is not None else rule.draw
    handle(drawing, on, event, NOTHING if found is None else found, start, end)
    if event.refs != "[]":
        drawing.rests_on(on, event.refs)
    return found is not None


def _agent(root: Draft, drawing: Drawing, opened: Recorded) -> None:
    attributes, about = root.attributes, drawing.about
    attributes[names.OPERATION] = names.INVOKE_AGENT
    attributes[names.PROVIDER] = names.OURSELVES
    attributes[names.CONVERSATION] = drawing.conversation
    attributes[names.STREAM] = opened.stream
    attributes[names.CYCLE] = opened.cycle
    attributes[names.EVENT] = opened.id
    if about.scenario:
        attributes[names.AGENT_NAME] = about.scenario
        attributes[names.ENVIRONMENT] = about.environment
    if (version := about.attributes.get(names.AGENT_VERSION)) is not None:
        attributes[names.AGENT_VERSION] = version
    if opened.mode != "execution":
        attributes[names.MODE] = opened.mode


def session_span(stream: str, about: About, tools: Tools, *, until: int, closed: Recorded | None) -> Span:
    """The session from its opening to its end, or as far as it went: the root of what stands in none of its cycles."""
    trace, root_id = session_of(stream)
    start = min(about.opened_at or until, until)
    root = Draft(root_id, None, f"{names.SESSION} {about.scenario}".rstrip(), start, until)
    drawing = Drawing(Tree(stream, trace, root), about, tools)
    root.attributes |= {names.CONVERSATION: drawing.conversation, names.STREAM: stream, **about.attributes}
    if about.parent:
        drawing.link(root, about.parent, "forked_from")
    if closed is None:
        root.attributes[names.UNFINISHED] = True
    else:
        draw(drawing, root, closed, until, until, alone=True)
    return drawing.tree.spans()[0]


def between_spans(event: Recorded, *, about: About, tools: Tools, floor: int, after_end: bool) -> list[Span]:
    """Of an event that stands between cycles: a child of its session's span, or linked to it where that has ended."""
    trace, root_id = session_of(event.stream)
    earliest = max(floor, about.opened_at)
    end = max(event.at, earliest)
    start = max(end - event.elapsed_ns, earliest)
    root = Draft(root_id, None, names.SESSION, start, end)
    tree = Tree(event.stream, trace, root)
    drawing = Drawing(tree, about, tools)
    own = tree.phase(event.version, event.type, start, end)
    own.attributes |= {names.CONVERSATION: drawing.conversation, names.EVENT: event.id}
    if not draw(drawing, own, event, start, end, alone=True):
        own.attributes[names.WITHHELD] = 1
    if after_end:
        own.parent = None
        own.attributes[names.AFTER] = "closed"
    return tree.spans()[1:]


def event_spans(event: Recorded, *, tools: Tools) -> list[Span]:
    """The trace of an event that belongs to no session."""
    stream, version = event.stream, event.version
    start = event.at - event.elapsed_ns
    root = Draft(cycle_span_id(stream, version), None, event.type, start, event.at)
    drawing = Drawing(Tree(stream, trace_id(stream, version), root), About(), tools)
    root.attributes |= {names.STREAM: stream, names.EVENT: event.id}
    if not draw(drawing, root, event, start, event.at, alone=True):
        root.attributes[names.WITHHELD] = 1
    return drawing.tree.spans()


def training_span(events: Sequence[Recorded], *, tools: Tools, unfinished: bool = False) -> Span:
    """The trace of a training: from its first look at held-out sessions to the model, if it came to one."""
    first, last = events[0], events[-1]
    stream, version = first.stream, first.version
    end = max(event.at for event in events)
    model = stream.partition("/")[2]
    root = Draft(cycle_span_id(stream, version), None, f"{names.TRAIN} {model}", first.at, end)
    drawing = Drawing(Tree(stream, trace_id(stream, version), root), About(), tools)
    root.attributes |= {names.STREAM: stream, names.EVENT: first.id, names.MODEL_NAME: model}
    for event in events:
        draw(drawing, root, event, event.at, max(event.at, first.at), alone=event is last)
    if unfinished:
        root.attributes[names.UNFINISHED] = True
    else:
        root.attributes[names.OUTCOME_EVENT] = last.id
    return drawing.tree.spans()[0]
