"""The fourth phase: one effect, attempted at most as often as its class allows.

Knows worlds and toolboxes; refuses a decision without an allowing appraisal of exactly those arguments.
Invariants: `intend` is on disk before `act`, `call` or `settle` is called; whatever they run is under the span of the
intent."""

from __future__ import annotations

from collections.abc import Sequence

from loops.context import Context
from loops.effects import FREE, effect_key
from loops.gateway import Gateway
from loops.percept import Percept
from loops.toolboxes import Toolboxes
from loops.worlds import Worlds
from telemetry.events import Event, execute, reason
from telemetry.events.values import Action, Digest, EffectClass, ToolCall, ToolCalls, ToolResult, digest_of
from telemetry.otel.context import Under, under, under_cycle


class Execute:
    def __init__(self, worlds: Worlds, toolboxes: Toolboxes, gateway: Gateway) -> None:
        self._worlds = worlds
        self._toolboxes = toolboxes
        self._gateway = gateway

    def perceive(self, context: Context) -> Percept:
        """What the session's world shows now, after a reset where an episode begins."""
        with under_cycle(context.stream, cycle=context.state.cycle):
            return self._worlds.perceive(context)

    def act(self, context: Context) -> Percept:
        """Attempts the intended move. Raises `ToolFailed` (fenced) when it must not be sent."""
        intended = context.scene.intended
        assert intended is not None, "an effect is intended before it is attempted"
        if intended.effect_class in FREE:
            with _under(context, 0):
                return self._worlds.act(context, intended.action)
        with _under(context, 0), self._gateway.passage(context, 0) as passage:
            passage.check()
            return self._worlds.act(context, intended.action)

    def call(self, context: Context, ordinal: int) -> ToolResult:
        """Makes the intended call. Raises `ToolFailed`."""
        call, effect = _intended(context, ordinal)
        passage = self._gateway.passage(context, ordinal)
        with _under(context, ordinal):
            content = self._toolboxes.of(context).call(call, effect=effect, passage=passage)
        return ToolResult(call=call.id, tool=call.tool, content=content)

    def settle(self, context: Context, ordinal: int) -> ToolResult:
        """Asks for the result of a call that may have happened, or undoes it. Raises `ToolFailed`."""
        call, effect = _intended(context, ordinal)
        passage = self._gateway.passage(context, ordinal)
        with _under(context, ordinal):
            content = self._toolboxes.of(context).settle(call, effect=effect, passage=passage)
        return ToolResult(call=call.id, tool=call.tool, content=content)


def _under(context: Context, ordinal: int) -> Under:
    """The span of that effect is current."""
    return under(context.scene.ids.get(f"execute.intended/{ordinal}", ""), cycle=context.state.cycle)


def _intended(context: Context, ordinal: int) -> tuple[ToolCall, Digest]:
    intended = context.scene.effects[ordinal]
    assert isinstance(intended.action, ToolCalls), "the effects of a conversation are calls"
    return intended.action.calls[0], intended.effect


def intend(context: Context, *, classes: Sequence[EffectClass], executor: str, deadline: int) -> Sequence[Event]:
    """`execute.intended` for each effect of what was decided, then `execute.dispatched` for each.

    Raises AssertionError when neither an appraisal nor a person allowed exactly these arguments."""
    decided = _decided(context)
    assert _allowed(context, decided), f"no allowing appraisal of {decided.arguments[:12]}… in {context.state.cycle}"
    intents = [
        execute.Intended(
            effect=_key(context, ordinal, arguments),
            action=action,
            arguments=arguments,
            effect_class=effect_class,
            proposal=decided.proposal,
            ordinal=ordinal,
        )
        for ordinal, ((action, arguments), effect_class) in enumerate(zip(_effects(decided), classes, strict=True))
    ]
    sent = [dispatched(one.effect, one.ordinal, executor=executor, deadline=deadline) for one in intents]
    return *intents, *sent


def dispatched(effect: Digest, ordinal: int, *, executor: str, deadline: int) -> execute.Dispatched:
    return execute.Dispatched(effect=effect, ordinal=ordinal, executor=executor, deadline=deadline)


def _allowed(context: Context, decided: reason.Decided) -> bool:
    scene = context.scene
    granted = scene.approval is not None and scene.approval.granted and scene.approval.arguments == decided.arguments
    own = scene.alternative is not None and decided.proposal is None and scene.alternative.action == decided.action
    appraised = any(a.arguments == decided.arguments and a.verdict == "allow" for a in scene.appraisals)
    return granted or own or appraised


def ask(context: Context, *, until: int | None) -> execute.ApprovalAsked:
    """The question whether what was decided may be done, with the grounds for asking."""
    decided = _decided(context)
    grounds = next(a.grounds for a in context.scene.appraisals if a.proposal == decided.proposal)
    return execute.ApprovalAsked(
        effect=_key(context, 0, decided.arguments),
        action=decided.action,
        arguments=decided.arguments,
        why="; ".join(f"{ground.rule}: {ground.reason}" for ground in grounds),
        until=until,
    )


def withheld(context: Context) -> Sequence[Event]:
    """`execute.cancelled` for each call that a person did not allow."""
    decided, answer = _decided(context), context.scene.approval
    assert answer is not None, "nothing is withheld before it was answered"
    why = f"{answer.by} did not allow it{': ' if answer.why else ''}{answer.why}"
    return [
        execute.Cancelled(effect=_key(context, ordinal, arguments), ordinal=ordinal, why=why)
        for ordinal, (_, arguments) in enumerate(_effects(decided))
    ]


def outcome(effect: str, percept: Percept) -> execute.Succeeded:
    """What is recorded of a step: its digest, not its content, which the next cycle senses."""
    return execute.Succeeded(
        effect=effect,
        observed=percept.digest,
        reward=percept.reward,
        terminated=percept.terminated,
        truncated=percept.truncated,
        success=percept.success,
    )


def _effects(decided: reason.Decided) -> Sequence[tuple[Action, Digest]]:
    """The effects of a decision and the digest of each: each call of several is one of its own."""
    if not isinstance(decided.action, ToolCalls):
        return ((decided.action, decided.arguments),)
    calls = [ToolCalls(calls=(call,)) for call in decided.action.calls]
    return [(call, digest_of(call)) for call in calls]


def _decided(context: Context) -> reason.Decided:
    assert context.scene.decided is not None, "execute follows reason"
    return context.scene.decided


def _key(context: Context, ordinal: int, arguments: Digest) -> Digest:
    return effect_key(
        stream=context.stream,
        cycle=context.state.cycle,
        proposal=_decided(context).proposal,
        ordinal=ordinal,
        arguments=arguments,
    )
