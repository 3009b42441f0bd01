"""Rows of sessions and of their cycles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from telemetry.errors import EventsPruned
from telemetry.log import EventLog
from telemetry.log.lineage import lineage
from telemetry.query.rows.payloads import Payload, body_of, json_or_none, payload_of, tools
from telemetry.query.rows.story import SESSION, Cycle, Teller, Telling, id_of

WHOLE: Final = 2**63 - 1
"""The version up to which a stream's own events stand on itself."""


def opening(log: EventLog, stream: str) -> tuple[str | None, Payload]:
    """The stream at the root of the lineage and the payload that its session was opened with; None and nothing where
    that was archived and removed."""
    try:
        first = next(log.read(stream, to=1), None)
    except EventsPruned:
        first = None
    if first is None or first.type != "session.opened":
        return None, {}
    body = body_of(first)
    return first.stream, (None if body is None else payload_of(first, body)) or {}


def _opened(telling: Telling, payload: Payload) -> None:
    telling.story.subject = payload.get("person")
    _session(telling, telling.event.stream, payload, None, None)
    telling.tell("lineage", telling.event.stream, WHOLE)


def _forked(telling: Telling, payload: Payload) -> None:
    event = telling.event
    root, opened = opening(telling.log, event.stream)
    telling.story.subject = opened.get("person")
    _session(telling, root, opened, payload["parent"], payload["at_version"])
    telling.tell("lineage", event.stream, WHOLE)
    for ancestor, to in lineage(telling.log.origin, event.stream, to=event.version)[1:]:
        telling.tell("lineage", ancestor, to)


def _session(telling: Telling, root: str | None, opened: Payload, parent: str | None, at_version: int | None) -> None:
    first = None if root is None or parent is None else f"{root}@1"
    telling.tell(
        "sessions",
        (root or telling.event.stream).removeprefix(SESSION),
        None if parent is None else parent.removeprefix(SESSION),
        at_version,
        opened.get("scenario"),
        opened.get("scenario_digest"),
        opened.get("environment"),
        opened.get("purpose"),
        opened.get("seed"),
        opened.get("cycles"),
        tools(opened.get("spaces", {})),
        json_or_none(opened.get("playbook")),
        json_or_none(opened.get("spaces")),
        json_or_none(opened.get("versions")),
        opened.get("scenario_text"),
        sources=telling.after(first),
    )


def _cycle_opened(telling: Telling, _: Payload) -> None:
    telling.story.cycle.opened = telling.now


def _cycle_closed(telling: Telling, payload: Payload) -> None:
    story, event = telling.story, telling.event
    cycle = story.cycle
    if cycle.opened is None:
        return
    usage = payload.get("usage", {})
    telling.tell(
        "cycles",
        cycle.opened.at // 1000,
        event.at - cycle.opened.at + cycle.lead_ns,
        cycle.elapsed_ns,
        cycle.events,
        id_of(cycle.observed),
        id_of(cycle.decided),
        *_happened(cycle),
        len(cycle.inhibited),
        usage.get("model_calls", 0),
        usage.get("input_tokens", 0),
        usage.get("output_tokens", 0),
        usage.get("cost_usd", 0.0),
        payload["state_hash"],
        payload["reducer"],
        about=cycle.opened,
        sources=(cycle.opened.id, telling.now.id),
    )
    for name, phase in cycle.phases.items():
        first = phase.first
        telling.tell("phases", name, phase.events, phase.elapsed_ns, about=first, sources=(first.id, telling.now.id))
    story.cycle = Cycle()


def _happened(cycle: Cycle) -> tuple[object, ...]:
    """From `episode` to `virtues`."""
    seen = cycle.observed.payload if cycle.observed is not None else None
    surprised, felt, rewarded = cycle.surprised or {}, cycle.felt or {}, cycle.rewarded or {}
    ends = bool(seen and seen.get("ends_episode")) or rewarded.get("ends_episode", False)
    return (
        None if seen is None else seen.get("episode", 0),
        None if seen is None else seen.get("step", 0),
        None if seen is None else ends,
        rewarded.get("reward"),
        rewarded.get("episode_return"),
        rewarded.get("success"),
        surprised.get("error"),
        surprised.get("nats"),
        surprised.get("percentile"),
        felt.get("valence"),
        felt.get("arousal"),
        json_or_none(felt.get("virtues")),
    )


LIFE: Final[Mapping[str, Teller]] = {
    "session.opened": _opened,
    "session.forked": _forked,
    "session.cycle_opened": _cycle_opened,
    "session.cycle_closed": _cycle_closed,
}
