"""Which kinds of rows there are.

A row is made once, when the last event that it follows from is seen, and never changed: what is found out later is a
row of its own. Invariant: where one kind's column holds an event's id, that is the `event` of another kind's row, or
stands among `events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from telemetry.query.rows import kinds_of_deeds, kinds_of_life, kinds_of_senses, kinds_of_thought
from telemetry.query.rows.kinds import Kind

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        kinds_of_life.EVENTS,
        kinds_of_life.SESSIONS,
        kinds_of_life.LINEAGE,
        kinds_of_life.CYCLES,
        kinds_of_life.PHASES,
        kinds_of_senses.OBSERVATIONS,
        kinds_of_senses.SURPRISES,
        kinds_of_senses.RECALLS,
        kinds_of_senses.MEMORIES,
        kinds_of_thought.APPRAISALS,
        kinds_of_thought.MODEL_CALLS,
        kinds_of_thought.MESSAGES,
        kinds_of_thought.DECISIONS,
        kinds_of_thought.PREDICTIONS,
        kinds_of_deeds.ACTIONS,
        kinds_of_deeds.REWARDS,
        kinds_of_deeds.BELIEFS,
        kinds_of_deeds.FEEDBACK,
        kinds_of_deeds.MODELS,
    )
}
"""By name, in the order of a cycle."""
