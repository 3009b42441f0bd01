"""What of a session's content may leave with its spans.

Knows the conventions' switch and its values; reads no environment. Invariant: without a word that allows it, digests
and references leave, and no text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

_ON_SPANS: Final = {"": False, "no_content": False, "false": False, "event_only": False} | dict.fromkeys(
    ("span_only", "span_and_event", "true"), True
)
"""event_only: a span is no event of the conventions, so it shows nothing then."""


@dataclass(frozen=True, slots=True)
class Content:
    """`messages`: whether spans hold what was said, asked for, answered and remembered, and why."""

    messages: bool = False


def content_of(value: str) -> Content:
    """What VARIABLE says. Raises ValueError naming what it may say when it says something else."""
    found = _ON_SPANS.get(value.strip().lower())
    if found is None:
        raise ValueError(
            f"{VARIABLE} is {value!r}; it can be NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT, true or false. "
            "Nothing was sent"
        )
    return Content(messages=found)
