"""Which sessions of a log a model learns from.

Knows names, scenarios and environments; reads first events only. Invariant: nobody gets sessions of two worlds without
having named them."""

from __future__ import annotations

from collections.abc import Sequence

from loops.lessons import Source
from runtime.errors import NotFound, UsageError
from runtime.rerun.many import chosen
from runtime.sessions import all_heads, opened, stream_of
from telemetry.errors import EventsPruned
from telemetry.log import EventLog

SHOWN = 6
"""Worlds that a message names."""


def sources(log: EventLog, sessions: Sequence[str] = (), *, scenario: str | None = None) -> list[Source]:
    """The sessions that are named, or those of one scenario, or all that move in the log's one world.

    Raises `NotFound` where there are none, and `UsageError` for both kinds of choice, or for none where the log holds
    several worlds."""
    if sessions and scenario is not None:
        raise UsageError("name sessions or give --scenario NAME, not both. Nothing was learnt")
    if sessions or scenario is not None:
        names = sessions or chosen(log, scenario=scenario)
        return [Source(stream, opened(log, stream)) for stream in dict.fromkeys(map(stream_of, names))]
    found = _all(log)
    worlds = {source.opened.environment: source.opened.scenario for source in found}
    if not found:
        raise NotFound(
            f"no session of {log.name} moves in a world, so there is nothing to learn. Try: aether run SCENARIO.toml"
        )
    if len(worlds) > 1:
        shown = "; ".join(f"{world} in scenario {scenario!r}" for world, scenario in list(worlds.items())[:SHOWN])
        raise UsageError(
            f"the log holds sessions of {len(worlds)} worlds: {shown}. Choose with --scenario NAME, or name the "
            "sessions. Nothing was learnt"
        )
    return found


def _all(log: EventLog) -> list[Source]:
    """Every session that moves and whose beginning is still there."""
    found: list[Source] = []
    for head in all_heads(log):
        try:
            source = Source(head.stream, opened(log, head.stream))
        except EventsPruned:
            continue
        if source.layout is not None:
            found.append(source)
    return found
