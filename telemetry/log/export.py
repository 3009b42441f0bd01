"""Events as lines of JSON, from which the log could be rebuilt bit for bit.

Invariant: a line holds every stored column; `payload` is the stored text itself, never re-encoded."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from telemetry.events.envelope import Recorded


def export_lines(events: Iterable[Recorded]) -> Iterator[bytes]:
    """One canonical JSON line an event, newline included. `digest` and `hash` are in hex; a payload that is not
    UTF-8 stands in `payload_base64` instead, and the content of a blob in `content_base64`."""
    for event in events:
        line = {name: value for name, value in vars(event).items() if name not in ("content", "event")}
        line["digest"], line["hash"] = event.digest.hex(), event.hash.hex()
        try:
            line["payload"] = event.payload.decode()
        except UnicodeDecodeError:
            del line["payload"]
            line["payload_base64"] = base64.b64encode(event.payload).decode()
        if event.content is not None:
            line["content_base64"] = base64.b64encode(event.content).decode()
        yield orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
