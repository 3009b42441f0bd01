"""Events of learning in a line for people.

Knows their fields; reads no log. Invariant: what a line leaves out stands in the event that it is of."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from runtime.people.approvals import moment
from runtime.why import shortened
from telemetry.events import Event, Recorded, Unknown, session
from telemetry.events.learn import (
    ModelAdopted,
    ModelEvaluated,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    ModelTrained,
    TrainingProgressed,
)

FIGURES = 6
"""That a line shows."""
SHOWN = ("gain", "gain_bound", "success", "success_before", "steps", "steps_before", "error_over_copy")
"""Of a verdict's figures those that come first in a line."""
FIRST = ("error_over_copy", "error_over_linear", "nats", "transitions")
"""Of a training's metrics those that a line shows."""


def told(recorded: Recorded, event: Event | Unknown | None) -> str:
    """What the event says, and for the rarer ones when."""
    match event:
        case ModelTrained():
            known = {name: event.metrics[name] for name in FIRST if name in event.metrics}
            kind, sessions = event.config.get("kind", "model"), event.config.get("transitions")
            moves = f"{sessions:,} transitions, " if isinstance(sessions, int) else ""
            return (
                f"{moment(recorded.at)}: trained {event.model}, {kind}, on {moves}positions {event.from_position:,} to "
                f"{event.to_position:,}, data {event.data[:12]}, code {event.code}{_figures(known)}"
            )
        case TrainingProgressed():
            of = f" of {event.steps:,}" if event.steps else ""
            return f"{moment(recorded.at)}: training {event.model}, step {event.step:,}{of}, loss {event.loss:.3g}"
        case ModelEvaluated():
            return (
                f"{moment(recorded.at)}: judged {event.model} against {event.incumbent} on {event.pairs} pairs of "
                f"sessions of {event.scenario}{_figures(event.figures)}"
            )
        case ModelPromoted():
            share = "" if event.share == 1 else f" for {event.share:.0%} of the sessions"
            return f"{moment(recorded.at)}: promoted {event.model}{share}{_because(event.why)}{_figures(event.figures)}"
        case ModelRejected():
            return f"{moment(recorded.at)}: rejected {event.model}{_because(event.why)}{_figures(event.figures)}"
        case ModelRolledBack():
            back = f"rolled back {event.model} to {event.to}"
            return f"{moment(recorded.at)}: {back}{_because(event.why)}{_figures(event.figures)}"
        case ModelAdopted():
            before, now = event.before or "what its scenario says", event.model or "what its scenario says"
            return f"adopted {now} in place of {before}{_because(event.why)}"
        case session.Opened():
            return f"opened, scenario {event.scenario}, seed {event.seed}"
        case session.Closed():
            return f"closed after {event.cycles} cycles: {event.reason}"
        case None:
            return f"{recorded.type}, whose content cannot be read"
    return f"{recorded.type} {shortened(event.model_dump_json(exclude={'type'}, exclude_defaults=True))}"


def _because(why: str) -> str:
    return f": {shortened(why)}" if why else ""


def _figures(figures: Mapping[str, JsonValue] | Mapping[str, float]) -> str:
    names = sorted(figures, key=lambda name: SHOWN.index(name) if name in SHOWN else len(SHOWN))
    shown = [f"{name} {_number(figures[name])}" for name in names[:FIGURES]]
    return f" ({', '.join(shown)})" if shown else ""


def _number(value: JsonValue) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
