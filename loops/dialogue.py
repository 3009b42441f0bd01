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
    note: bool = False
    """Of a user: whether it only tells something, such as feedback, and asks for nothing."""


Dialogue = tuple[Turn, ...]


def heard(event_id: EventId, observed: sense.Observed) -> Dialogue:
    """The turns of what a person said."""
    turns = (_turn(event_id, observation) for observation in observed.observations)
    return tuple(turn for turn in turns if turn is not None and turn.text)


def _turn(event_id: EventId, observation: Observation) -> Turn | None:
    match observation:
        case Message(role="user"):
            return Turn(event_id, "user", observation.text, message=observation.id)
        case Feedback(rating=rating, text=text):
            judged = "" if rating is None else "good" if rating > 0 else "bad"
            said = ", ".join(part for part in (judged, text) if part)
            return Turn(event_id, "user", f"[feedback: {said}]", note=True)
    return None


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


NAMED_CHARACTERS = 200
"""The most that is repeated of a call; the whole of it stands in the turn that made it."""


def reconciled(event_id: EventId, event: execute.Reconciled, action: Action) -> Turn:
    """The turn that tells what became of an unknown effect: data that a person brought, marked as theirs.

    The call has its answer already, which said "unknown" and stays so; this is to be told after every call's answer."""
    became = "did happen" if event.happened else "did not happen"
    why = f": {event.why}" if event.why else ""
    result = "" if event.result is None else f"; its result: {canonical_json(event.result.content)}"
    text = f"[settled: {_named(action)} of cycle {event.cycle} {became}, says {event.by}{why}{result}]"
    return Turn(event_id, "user", text, note=True)


def _named(action: Action) -> str:
    match action:
        case ToolCalls(calls=(call, *_)):
            arguments = (f"{name}={canonical_json(value)}" for name, value in sorted(call.arguments.items()))
            named = f"{call.tool}({', '.join(arguments)})"
        case Say(text=said) | AskHuman(question=said):
            named = f"saying {said!r}"
        case _:
            named = "the move"
    return named if len(named) <= NAMED_CHARACTERS else f"{named[:NAMED_CHARACTERS]}…"


def _answer(event_id: EventId, call: ToolCall, text: str, *, failed: bool = False) -> Turn:
    return Turn(event_id, "tool", text, answers=call.id, tool=call.tool, failed=failed)
