"""From a decision to its honest outcomes: a person's leave, the intent, the attempt, and what became of it.

Knows barriers and the classes of effects; knows no tool, no simulator and no store. Invariant: an intent is on disk
before its effect is attempted, and every intent gets one outcome, which is never made up."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Literal

from loops.effects import SETTLE, effect_class_of
from loops.errors import EnvironmentFailed, ToolFailed
from loops.execute import Execute, ask, intend, outcome, withheld
from loops.frame import Conversation, Cycle
from loops.percept import Percept
from telemetry.events import Event, execute, reason
from telemetry.events.values import AskHuman, EffectClass, Move, Say, ToolCalls, ToolResult, Wait

LOST = "its owner stopped between dispatch and answer, and it must not be repeated"


async def act(cycle: Cycle) -> Literal["done", "waiting"]:
    """Carries the decision of the open cycle out, as far as it is not done yet. "waiting": a person was asked."""
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
            await _move(cycle)
        case ToolCalls():
            await _calls(cycle, decided.action)
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


async def _intend(cycle: Cycle, classes: tuple[EffectClass, ...]) -> bool:
    """Puts the intents on disk; whether they were there already, so that their effects may have happened."""
    journal, command = cycle.journal, cycle.command("intend")
    if journal.recorded(command):
        return True
    deadline = cycle.clock() + cycle.limit_ns
    journal.record(command, intend(cycle.context, classes=classes, executor=cycle.executor, deadline=deadline))
    await journal.commit()
    return False


async def _move(cycle: Cycle) -> None:
    journal, command = cycle.journal, cycle.command("outcome")
    if journal.recorded(command):
        return
    settling = await _intend(cycle, (cycle.effect_class,))
    began = time.perf_counter_ns()
    event, percept = await _attempt(cycle, settling=settling)
    journal.record(command, (event,), elapsed_ns=time.perf_counter_ns() - began)
    if percept is not None:
        cycle.shown[cycle.moment] = percept


async def _attempt(cycle: Cycle, *, settling: bool) -> tuple[Event, Percept | None]:
    """The outcome of the intended move, and what the world shows after it; no environment can probe or undo, so
    only those that may be repeated are settled by that."""
    intended = cycle.journal.scene.intended
    assert intended is not None
    if settling and SETTLE[intended.effect_class] != "again":
        return execute.UnknownOutcome(effect=intended.effect, why=LOST), None
    try:
        percept: Percept = await cycle.phases.run(Execute.act, cycle.context)
    except EnvironmentFailed as error:
        return execute.Failed(effect=intended.effect, kind=error.kind, error=str(error)), None
    return outcome(intended.effect, percept), percept


async def _say(cycle: Cycle, conversation: Conversation, action: Say | AskHuman) -> None:
    journal, command = cycle.journal, cycle.command("outcome")
    if journal.recorded(command):
        return
    await _intend(cycle, ("keyed",))
    intended = journal.scene.intended
    assert intended is not None
    began = time.perf_counter_ns()
    await conversation.say(intended.effect, action)
    delivered = execute.Succeeded(effect=intended.effect)
    journal.record(command, (delivered,), elapsed_ns=time.perf_counter_ns() - began)


async def _calls(cycle: Cycle, action: ToolCalls) -> None:
    """Makes the calls of one decision at once; each outcome is recorded as it comes."""
    journal = cycle.journal
    missing = [i for i in range(len(action.calls)) if not journal.recorded(cycle.command(f"outcome.{i}"))]
    if not missing:
        return
    tools = cycle.context.spaces.action
    classes = tuple(effect_class_of(call, tools) for call in action.calls)
    settling = await _intend(cycle, classes)
    attempts = [asyncio.create_task(_call(cycle, i, classes[i], settling=settling)) for i in missing]
    try:
        await asyncio.gather(*attempts)
    except Exception:
        await asyncio.gather(*attempts, return_exceptions=True)  # what the others came to is recorded all the same
        raise


async def _call(cycle: Cycle, ordinal: int, effect_class: EffectClass, *, settling: bool) -> None:
    journal, command = cycle.journal, cycle.command(f"outcome.{ordinal}")
    began = time.perf_counter_ns()
    event = await (_settled if settling else _tried)(cycle, ordinal, effect_class)
    journal.record(command, (event,), elapsed_ns=time.perf_counter_ns() - began)
    if SETTLE[effect_class] != "again":
        await journal.commit()  # what must not be repeated is on disk as soon as it is known


async def _tried(cycle: Cycle, ordinal: int, effect_class: EffectClass) -> Event:
    """The outcome of a call that was not made before."""
    effect = cycle.journal.scene.effects[ordinal].effect
    try:
        return await _made(cycle, ordinal)
    except ToolFailed as error:
        if error.kind not in ("timeout", "lost"):
            return _failed(effect, ordinal, error)
        if effect_class in ("pure", "read"):
            return _failed(effect, ordinal, error)
        if error.kind == "timeout" and SETTLE[effect_class] in ("probe", "undo"):
            return await _late(cycle, ordinal, effect_class, str(error))
        return await _settled(cycle, ordinal, effect_class, because=str(error))


async def _late(cycle: Cycle, ordinal: int, effect_class: EffectClass, why: str) -> Event:
    """The outcome of a call that was given up and may still happen: that it has not happened yet says nothing, and an
    undo comes too early, so it is never made again."""
    if SETTLE[effect_class] == "probe":
        with suppress(ToolFailed):
            return _succeeded(cycle, ordinal, await _asked(cycle, ordinal))
    return execute.UnknownOutcome(effect=cycle.journal.scene.effects[ordinal].effect, ordinal=ordinal, why=why)


async def _settled(cycle: Cycle, ordinal: int, effect_class: EffectClass, *, because: str = LOST) -> Event:
    """The outcome of a call that may have happened: by its class repeated, asked for, undone, or unknown."""
    effect = cycle.journal.scene.effects[ordinal].effect
    settlement = SETTLE[effect_class]
    if settlement == "unknown":
        return execute.UnknownOutcome(effect=effect, ordinal=ordinal, why=because)
    try:
        if settlement == "probe":
            return _succeeded(cycle, ordinal, await _asked(cycle, ordinal))
        if settlement == "undo":
            await _asked(cycle, ordinal)
    except ToolFailed as error:
        if error.kind != "not_done":
            return execute.UnknownOutcome(effect=effect, ordinal=ordinal, why=f"{because}; {error}")
    try:
        return await _made(cycle, ordinal)
    except ToolFailed as error:
        # invalid: the call can't be made any more, say because a secret in it died with its process; it was made once
        if error.kind in ("timeout", "lost", "invalid") and effect_class not in ("pure", "read"):
            return execute.UnknownOutcome(effect=effect, ordinal=ordinal, why=str(error))
        return _failed(effect, ordinal, error)


async def _asked(cycle: Cycle, ordinal: int) -> ToolResult:
    """Asks the probe, or undoes. Raises `ToolFailed`; a phase that hung leaves it open whether that was done."""
    try:
        return await cycle.phases.run(Execute.settle, cycle.context, ordinal)
    except EnvironmentFailed as error:
        raise ToolFailed(str(error), "lost") from error


async def _made(cycle: Cycle, ordinal: int) -> Event:
    """Makes the call. Raises `ToolFailed`; a phase that hung counts as a call that took too long."""
    try:
        result = await cycle.phases.run(Execute.call, cycle.context, ordinal)
    except EnvironmentFailed as error:
        raise ToolFailed(str(error), "timeout" if error.kind == "timeout" else "raised") from error
    return _succeeded(cycle, ordinal, result)


def _succeeded(cycle: Cycle, ordinal: int, result: ToolResult) -> Event:
    effect = cycle.journal.scene.effects[ordinal].effect
    return execute.Succeeded(effect=effect, ordinal=ordinal, result=result)


def _failed(effect: str, ordinal: int, error: ToolFailed) -> Event:
    kind = "lost" if error.kind == "not_done" else error.kind
    return execute.Failed(effect=effect, ordinal=ordinal, kind=kind, error=str(error))
