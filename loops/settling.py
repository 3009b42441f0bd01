"""What became of an attempt: of a call that was made, or of one that a former owner may have made.

Knows the classes of effects and whom each was handed to; knows no tool and no store. Invariant: an effect is attempted
again only where its class allows that, after nothing of the last attempt can be under way any more, and after its new
executor is on disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from loops.effects import FREE, SETTLE
from loops.errors import EnvironmentFailed, ToolFailed
from loops.execute import Execute, dispatched
from loops.frame import Cycle
from loops.spaces import ToolActions
from telemetry.events import Event, execute
from telemetry.events.values import EffectClass, ToolCalls, ToolResult

T = TypeVar("T")

LOST = "its owner stopped between dispatch and answer, and it must not be repeated"
HAND_OVERS = 3
"""How often an attempt that was stopped before it was sent is dispatched anew: its executor was restarted, or a full
disk held its dispatch up past the deadline."""


async def over(cycle: Cycle, ordinal: int, effect_class: EffectClass) -> bool:
    """Waits until nothing of a former owner's attempt can be under way. False when the session is to stop first."""
    if effect_class in FREE:
        return True
    intended = cycle.journal.scene.effects[ordinal]
    (sent,) = (sent for sent in cycle.journal.scene.sent if sent.ordinal == ordinal)
    tools = cycle.context.spaces.action
    tool = None
    if isinstance(tools, ToolActions) and isinstance(intended.action, ToolCalls):
        tool = tools.tool(intended.action.calls[0].tool)
    limit_ns = cycle.limit_ns if tool is None else int(tool.timeout_s * 1e9)
    return await cycle.over(sent, sent.deadline + limit_ns)


async def hand_over(cycle: Cycle, ordinal: int) -> None:
    """Names who attempts the effect from now on, on disk before that begins. A fenced owner gets no further."""
    journal, number = cycle.journal, 1
    while journal.recorded(command := cycle.command(f"dispatch.{ordinal}.{number}")):
        number += 1
    effect = journal.scene.effects[ordinal].effect
    deadline = cycle.clock() + cycle.limit_ns
    journal.record(command, (dispatched(effect, ordinal, executor=cycle.executor(), deadline=deadline),))
    await journal.commit()


async def sent(cycle: Cycle, ordinal: int, attempt: Callable[[], Awaitable[T]]) -> T:
    """What the attempt came to; one that was stopped before it was sent is handed over and made anew."""
    for _ in range(HAND_OVERS):
        try:
            return await attempt()
        except ToolFailed as stopped:
            if stopped.kind != "fenced":
                raise
            await hand_over(cycle, ordinal)
    return await attempt()


async def tried(cycle: Cycle, ordinal: int, effect_class: EffectClass) -> Event | None:
    """The outcome of a call that was not made before; None when its executor was lost, may still be at work, and the
    session is to stop first."""
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
        if error.kind == "lost" and not await over(cycle, ordinal, effect_class):
            return None
        return await _settled(cycle, ordinal, effect_class, because=str(error))


async def settled(cycle: Cycle, ordinal: int, effect_class: EffectClass) -> Event | None:
    """The outcome of a call that a former owner handed out, once that is over; None when the session is to stop
    first."""
    if not await over(cycle, ordinal, effect_class):
        return None
    if effect_class not in FREE and SETTLE[effect_class] != "unknown":
        await hand_over(cycle, ordinal)
    return await _settled(cycle, ordinal, effect_class, because=LOST)


async def _late(cycle: Cycle, ordinal: int, effect_class: EffectClass, why: str) -> Event:
    """The outcome of a call that was given up and may still happen: that it has not happened yet says nothing, and an
    undo comes too early, so it is never made again."""
    if SETTLE[effect_class] == "probe":
        with suppress(ToolFailed):
            return _succeeded(cycle, ordinal, await _asked(cycle, ordinal))
    return execute.UnknownOutcome(effect=cycle.journal.scene.effects[ordinal].effect, ordinal=ordinal, why=why)


async def _settled(cycle: Cycle, ordinal: int, effect_class: EffectClass, *, because: str) -> Event:
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
        open_again = error.kind in ("timeout", "lost", "invalid")
        # What was only sent again, not found undone, may have happened the first time.
        unsent = settlement == "again" and error.kind in ("not_done", "fenced")
        if (open_again or unsent) and effect_class not in FREE:
            return execute.UnknownOutcome(effect=effect, ordinal=ordinal, why=str(error))
        return _failed(effect, ordinal, error)


async def _asked(cycle: Cycle, ordinal: int) -> ToolResult:
    """Asks the probe, or undoes. Raises `ToolFailed`; a phase that hung leaves it open whether that was done."""
    try:
        return await sent(cycle, ordinal, lambda: cycle.phases.run(Execute.settle, cycle.context, ordinal))
    except EnvironmentFailed as error:
        raise ToolFailed(str(error), "lost") from error


async def _made(cycle: Cycle, ordinal: int) -> Event:
    """Makes the call. Raises `ToolFailed`; a phase that hung counts as a call that took too long."""
    try:
        result = await sent(cycle, ordinal, lambda: cycle.phases.run(Execute.call, cycle.context, ordinal))
    except EnvironmentFailed as error:
        raise ToolFailed(str(error), "timeout" if error.kind == "timeout" else "raised") from error
    return _succeeded(cycle, ordinal, result)


def _succeeded(cycle: Cycle, ordinal: int, result: ToolResult) -> Event:
    effect = cycle.journal.scene.effects[ordinal].effect
    return execute.Succeeded(effect=effect, ordinal=ordinal, result=result)


def _failed(effect: str, ordinal: int, error: ToolFailed) -> Event:
    kind = "lost" if error.kind == "not_done" or error.kind == "fenced" else error.kind
    return execute.Failed(effect=effect, ordinal=ordinal, kind=kind, error=str(error))
