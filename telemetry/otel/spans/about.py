"""What a session is, as its spans say it; from the event that opened it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from telemetry.errors import InvalidEvent
from telemetry.events import Recorded
from telemetry.events.registry import CLASSES
from telemetry.events.upcast import upcast

if TYPE_CHECKING:
    from telemetry.otel.span import Attribute

from telemetry.otel import names

_SCHEMAS: Final = {name: kind.SCHEMA for name, kind in CLASSES.items()}

Body = dict[str, Any]
"""A payload in today's shape, as plain JSON. Defaults are left out of it."""

NOTHING: Final[Body] = {}


def body_of(event: Recorded) -> Body | None:
    """The event's payload; None where it is not here to be read, or of a shape that this version does not know.

    Plain JSON, not our classes: what an append accepted was checked then, and reading it so is five times faster."""
    stored = event.payload if event.encoding == "plain" else event.content
    known = _SCHEMAS.get(event.type, 0)
    if stored is None or event.schema > known:
        return None
    try:
        body: Body = orjson.loads(stored)
        return body if event.schema == known else upcast(event.type, event.schema, body, to=known)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidEvent(
            f"the payload of event {event.id} cannot be read: {error}. Try: aether log verify"
        ) from error


class About(NamedTuple):
    """`scenario` is empty where the opening cannot be read. `opened_at` in UTC ns. `parent`: the event that a fork was
    cut after."""

    scenario: str = ""
    environment: str = ""
    opened_at: int = 0
    parent: str = ""
    attributes: Mapping[str, Attribute] = {}
    """Of the span of the whole session."""


def about(opened: Recorded, *, forked: Recorded | None = None) -> About:
    """Of the session that `opened` opens; of its fork where `forked` says so."""
    body = body_of(opened) or NOTHING
    attributes: dict[str, Attribute] = {}
    for field, name in _OPENED:
        if (value := body.get(field)) is not None:
            attributes[name] = value
    if "scenario_digest" in body:
        attributes[names.AGENT_VERSION] = body["scenario_digest"][:12]
    if isinstance(playbook := body.get("playbook"), dict):
        attributes[names.PLAYBOOK] = playbook["name"]
    own = forked or opened
    parent = ""
    if forked is not None and (cut := body_of(forked)) is not None:
        parent = f"{cut['parent']}@{cut['at_version']}"
    scenario, environment = body.get("scenario", ""), body.get("environment", "")
    return About(scenario, environment, own.at, parent, attributes)


_OPENED: Final = (
    ("scenario", names.AGENT_NAME),
    ("environment", names.ENVIRONMENT),
    ("seed", names.SEED),
    ("purpose", names.PURPOSE),
)
