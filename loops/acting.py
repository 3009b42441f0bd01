"""From a decision to its honest outcomes: a person's leave, the intent, the attempt, and what became of it.

Knows barriers and the classes of effects; knows no tool, no simulator and no store. Invariant: an intent is on disk
before its effect is attempted, and every intent gets one outcome, which is never made up."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from loops.effects import FREE, SETTLE, effect_class_of
from loops.errors import EnvironmentFailed, ToolFailed
from loops.execute import Execute, ask, intend, outcome, withheld
from loops.frame import Conversation, Cycle
from loops.percept import Percept
from loops.settling import LOST, hand_over, over, sent, settled, tried
from telemetry.events import Event, execute, reason
from telemetry.events.values import AskHuman, EffectClass, Move, Say, ToolCalls, Wait

Acted = Literal["done", "waiting", "held"]


async def act(cycle: Cycle) -> Acted:
    """Carries the decision of the open cycle out, as far as it is not done yet. "waiting": a person was asked; "held":
    the session was asked to stop while a former executor may still be at work."""
    journal = cycle.journal
    decided = journal.scene.decided
    assert decided is not None
    if isinstance(decided.action, Wait):
        return "done"
    if not await _approved(cycle, decided):
        if journal.state.waiting:
            return "waiting"
        _withhold(cycle)
        return "done"
    match decided.action:
        case Move():
            return await _move(cycle)
        case ToolCalls():
            return await _calls(cycle, decided.action)
        case Say() | AskHuman():
            assert cycle.conversation is not None, "only a conversation has somebody to talk to"
            await _say(cycle, cycle.conversation, decided.action)
    return "done"


async def _approved(cycle: Cycle, decided: reason.Decided) -> bool:
    """Whether the decision may go ahead: allowed by the heart, or by a person who was asked."""
    journal = cycle.journal
    verdict = next((o.verdict for o in decided.options if o.proposal == decided.proposal), "allow")
    if decided.proposal is None or verdict == "allow":
        return True  # without a proposal it is the heart's own alternative
    if journal.state.asked is None:
        until = None if cycle.approval_timeout_ns is None else cycle.clock() + cycle.approval_timeout_ns
        journal.record(cycle.command("ask"), (ask(cycle.context, until=until),))
        await journal.commit()
    return journal.state.asked is not None and journal.state.asked.granted is True


def _withhold(cycle: Cycle) -> None:
    """Records that a person said no, for each call that was asked about."""
    command = cycle.command("withhold")
    if not cycle.journal.recorded(command):
        cycle.journal.record(command, withheld(cycle.context))


async def _intend(cycle: Cycle, classes: tuple[EffectClass, ...], *, executor: str) -> bool:
    """Puts the intents on disk; whether they were there already, so that their effects may have happened."""
    journal, command = cycle.journal, cycle.command("intend")
    if journal.recorded(command):
        return True
    deadline = cycle.clock() + cycle.limit_ns
    journal.record(command, intend(cycle.context, classes=classes, executor=executor, deadline=deadline))
    await journal.commit()
    return False


async def _move(cycle: Cycle) -> Acted:
    journal, command = cycle.journal, cycle.command("outcome")
    if journal.recorded(command):
        return "done"
    settling = await _intend(cycle, (cycle.effect_class,), executor=cycle.executor())
    if settling and not await over(cycle, 0, cycle.effect_class):
        return "held"
    began = time.perf_counter_ns()
    event, percept = await _attempt(cycle, settling=settling)
    journal.record(command, (event,), elapsed_ns=time.perf_counter_ns() - began)
    if percept is not None:
        cycle.shown[cycle.moment] = percept
    return "done"


async def _attempt(cycle: Cycle, *, settling: bool) -> tuple[Event, Percept | None]:
    """The outcome of the intended move, and what the world shows after it; no environment can probe or undo, so
    only those that may be repeated are settled by that."""
    intended = cycle.journal.scene.intended
    assert intended is not None
    if settling and SETTLE[intended.effect_class] != "again":
        return execute.UnknownOutcome(effect=intended.effect, why=LOST), None
    if settling and intended.effect_class not in FREE:
        await hand_over(cycle, 0)
    try:
        percept: Percept = await sent(cycle, 0, lambda: cycle.phases.run(Execute.act, cycle.context))
    except EnvironmentFailed as error:
        return execute.Failed(effect=intended.effect, kind=error.kind, error=str(error)), None
    except ToolFailed as stopped:
        if settling:
            return execute.UnknownOutcome(effect=intended.effect, why=f"{LOST}; {stopped}"), None
        return execute.Failed(effect=intended.effect, kind="lost", error=str(stopped)), None
    return outcome(intended.effect, percept), percept


async def _say(cycle: Cycle, conversation: Conversation, action: Say | AskHuman) -> None:
    journal, command = cycle.journal, cycle.command("outcome")
    if journal.recorded(command):
        return
    await _intend(cycle, ("keyed",), executor=cycle.owner)
    intended = journal.scene.intended
    assert intended is not None
    began = time.perf_counter_ns()
    await conversation.say(intended.effect, action)
    delivered = execute.Succeeded(effect=intended.effect)
    journal.record(command, (delivered,), elapsed_ns=time.perf_counter_ns() - began)


async def _calls(cycle: Cycle, action: ToolCalls) -> Acted:
    """Makes the calls of one decision at once; each outcome is recorded as it comes."""
    journal = cycle.journal
    missing = [i for i in range(len(action.calls)) if not journal.recorded(cycle.command(f"outcome.{i}"))]
    if not missing:
        return "done"
    tools = cycle.context.spaces.action
    classes = tuple(effect_class_of(call, tools) for call in action.calls)
    settling = await _intend(cycle, classes, executor=cycle.executor())
    attempts = [asyncio.create_task(_call(cycle, i, classes[i], settling=settling)) for i in missing]
    try:
        ended = await asyncio.gather(*attempts)
    except Exception:
        await asyncio.gather(*attempts, return_exceptions=True)  # what the others came to is recorded all the same
        raise
    return "done" if all(ended) else "held"


async def _call(cycle: Cycle, ordinal: int, effect_class: EffectClass, *, settling: bool) -> bool:
    """Records what became of the call. False when its former executor may still be at work and the session stops."""
    journal, command = cycle.journal, cycle.command(f"outcome.{ordinal}")
    began = time.perf_counter_ns()
    event = await (settled if settling else tried)(cycle, ordinal, effect_class)
    if event is None:
        return False
    journal.record(command, (event,), elapsed_ns=time.perf_counter_ns() - began)
    if SETTLE[effect_class] != "again":
        await journal.commit()  # what must not be repeated is on disk as soon as it is known
    return True
