"""The conversation as the reasoner sees it: turns, each with the event it came from.

Knows how events become turns; knows no endpoint and no wire format. Invariant: every call of an assistant's turn is
answered by a later tool turn before the next user or assistant turn, so a dialogue can always be sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from telemetry.events import execute, feel, reason, sense
from telemetry.events.values import (
    Action,
    AskHuman,
    EventId,
    Feedback,
    Message,
    Observation,
    Say,
    ToolCall,
    ToolCalls,
    canonical_json,
)

Outcome = execute.Succeeded | execute.Failed | execute.UnknownOutcome | execute.Cancelled


class Turn(NamedTuple):
    """What one side said or did, or what a tool answered."""

    event: EventId
    role: Literal["user", "assistant", "tool"]
    text: str
    """Of a tool: its result as canonical JSON, or its error in words."""
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    answers: str = ""
    """Of a tool: the id of the call it answers."""
    tool: str = ""
    message: str = ""
    """Of a user: the sender's id of the message."""
    failed: bool = False
    """Of a tool: whether `text` is an error."""


Dialogue = tuple[Turn, ...]


def heard(event_id: EventId, observed: sense.Observed) -> Dialogue:
    """The turns of what a person said."""
    spoken = (_words(observation) for observation in observed.observations)
    return tuple(Turn(event_id, "user", text, message=message) for text, message in spoken if text)


def _words(observation: Observation) -> tuple[str, str]:
    match observation:
        case Message(role="user"):
            return observation.text, observation.id
        case Feedback(rating=rating, text=text):
            judged = "" if rating is None else "good" if rating > 0 else "bad"
            return f"[feedback: {', '.join(part for part in (judged, text) if part)}]", ""
    return "", ""


def decided(
    event_id: EventId, event: reason.Decided, answers: Sequence[reason.Answered], held_back: feel.Inhibited | None
) -> Dialogue:
    """The turns of a decision: what was chosen, or what was held back, why, and what is said instead.

    Proposals are numbered as the answers that hold something (`spoken`)."""
    told = spoken(answers)
    if event.proposal is not None:
        text = told[event.proposal].text if event.proposal < len(told) else ""
        return (_said(event_id, event.action, text),)
    turns: Dialogue = ()
    if held_back is not None and held_back.proposal < len(told):
        first = told[held_back.proposal]
        turns += (Turn(event_id, "assistant", first.text, calls=first.calls),)
        note = f"held back by the rule {', '.join(held_back.rules)}: {event.why}"
        turns += tuple(_answer(event_id, call, note, failed=True) for call in first.calls)
        if not first.calls:
            turns += (Turn(event_id, "user", f"[your answer was {note}]"),)
    if isinstance(event.action, Say | AskHuman):
        turns += (_said(event_id, event.action, ""),)
    return turns


def spoken(answers: Iterable[reason.Answered]) -> tuple[reason.Answered, ...]:
    """The answers that say or ask for something."""
    return tuple(answer for answer in answers if answer.text or answer.calls)


def _said(event_id: EventId, action: Action, text: str) -> Turn:
    match action:
        case ToolCalls(calls=calls):
            return Turn(event_id, "assistant", text, calls=calls)
        case Say(text=said):
            return Turn(event_id, "assistant", said)
        case AskHuman(question=question):
            return Turn(event_id, "assistant", question)
    return Turn(event_id, "assistant", text)


def answered(before: Dialogue, turn: Turn) -> Dialogue:
    """The dialogue with a call's answer in the place of its call, whichever of several calls answers first."""
    said = next(i for i in reversed(range(len(before))) if before[i].role == "assistant")
    order = {call.id: place for place, call in enumerate(before[said].calls)}
    answers = sorted((*before[said + 1 :], turn), key=lambda t: order.get(t.answers, len(order)))
    return (*before[: said + 1], *answers)


def settled(event_id: EventId, event: Outcome, action: Action) -> Turn | None:
    """The turn of a call's outcome; nothing for what is no call."""
    if not isinstance(action, ToolCalls):
        return None
    call = action.calls[event.ordinal]
    match event:
        case execute.Succeeded(result=result) if result is not None:
            return _answer(event_id, call, canonical_json(result.content))
        case execute.Succeeded():
            return _answer(event_id, call, "null")
        case execute.Failed():
            return _answer(event_id, call, event.error, failed=True)
        case execute.UnknownOutcome():
            return _answer(event_id, call, f"whether this happened is unknown: {event.why}", failed=True)
        case execute.Cancelled():
            return _answer(event_id, call, f"not done: {event.why}", failed=True)


def _answer(event_id: EventId, call: ToolCall, text: str, *, failed: bool = False) -> Turn:
    return Turn(event_id, "tool", text, answers=call.id, tool=call.tool, failed=failed)
