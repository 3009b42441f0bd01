"""Events as lines for people and as rows for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry.events import Recorded

LINE_CHARACTERS = 100


def withheld(recorded: Recorded) -> bool:
    """Whether its payload is not in this log, as it did not come with the record that the log was rebuilt from."""
    return recorded.encoding == "withheld"


def event_row(recorded: Recorded) -> dict[str, object]:
    return {
        "event": recorded.id,
        "position": recorded.position,
        "type": recorded.type,
        "cycle": recorded.cycle,
        "cause": recorded.cause,
        "at": recorded.at,
        "elapsed_ns": recorded.elapsed_ns,
        "payload": None if withheld(recorded) else recorded.event.model_dump(mode="json", exclude={"type"}),
    }


def event_line(recorded: Recorded) -> str:
    """Version, cycle, type and as much of the payload as a line holds."""
    body = (
        "(withheld)" if withheld(recorded) else recorded.event.model_dump_json(exclude={"type"}, exclude_defaults=True)
    )
    shown = body if len(body) <= LINE_CHARACTERS else f"{body[:LINE_CHARACTERS]}…"
    return f"{recorded.version:>6}  {recorded.cycle:>5}  {recorded.type:<26} {shown}"
