"""The fourth phase: one effect, attempted at most as often as its class allows.

Knows worlds; refuses a decision without an allowing appraisal of exactly those arguments.
Invariant: `intend` is on disk before `act` is called."""

from __future__ import annotations

from collections.abc import Sequence

from loops.context import Context
from loops.effects import effect_key
from loops.percept import Percept
from loops.worlds import Worlds
from telemetry.events import Event, execute, reason
from telemetry.events.values import Digest, EffectClass


class Execute:
    def __init__(self, worlds: Worlds) -> None:
        self._worlds = worlds

    def perceive(self, context: Context) -> Percept:
        """What the session's world shows now, after a reset where an episode begins."""
        return self._worlds.perceive(context)

    def act(self, context: Context) -> Percept:
        """Attempts the intended action."""
        intended = context.scene.intended
        assert intended is not None, "an effect is intended before it is attempted"
        return self._worlds.act(context, intended.action)


def intend(context: Context, *, effect_class: EffectClass, executor: str, deadline: int) -> Sequence[Event]:
    """`execute.intended` and `execute.dispatched` for what was decided.

    Raises AssertionError when neither an appraisal nor a person allowed exactly these arguments."""
    scene, decided = context.scene, _decided(context)
    allowed = decided.arguments in scene.granted or any(
        a.arguments == decided.arguments and a.verdict == "allow" for a in scene.appraisals
    )
    assert allowed, f"no allowing appraisal of {decided.arguments[:12]}… in cycle {context.state.cycle}"
    intended = execute.Intended(
        effect=_key(context),
        action=decided.action,
        arguments=decided.arguments,
        effect_class=effect_class,
        proposal=decided.proposal,
    )
    return intended, execute.Dispatched(effect=intended.effect, executor=executor, deadline=deadline)


def ask(context: Context) -> execute.ApprovalAsked:
    """The question whether what was decided may be done, with the grounds for asking."""
    decided = _decided(context)
    grounds = next(a.grounds for a in context.scene.appraisals if a.proposal == decided.proposal)
    return execute.ApprovalAsked(
        effect=_key(context),
        action=decided.action,
        arguments=decided.arguments,
        why="; ".join(f"{ground.rule}: {ground.reason}" for ground in grounds),
    )


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


def _decided(context: Context) -> reason.Decided:
    assert context.scene.decided is not None, "execute follows reason"
    return context.scene.decided


def _key(context: Context) -> Digest:
    decided = _decided(context)
    return effect_key(
        stream=context.stream,
        cycle=context.state.cycle,
        proposal=decided.proposal,
        ordinal=0,
        arguments=decided.arguments,
    )
