"""What a session is, as far as it matters for what it does next; and the only reducer.

Knows events; knows no clock, no randomness, no float arithmetic: recorded values are copied.
Invariants: `apply` is total on a valid log; the state stays under MAX_STATE_BYTES and holds no ids,
versions, times or epochs, so a session that was interrupted ends in the state of one that was not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import orjson

from loops.errors import StateTooLarge
from loops.said import NOTHING_SAID, SAID
from telemetry.errors import InvalidEvent
from telemetry.events import Event, Unknown, execute, feel, learn, reason, sense, session
from telemetry.events.values import (
    Action,
    AskHuman,
    Belief,
    Digest,
    EffectClass,
    Move,
    Persistence,
    Say,
    ToolCall,
    ToolCalls,
    Value,
)

REDUCER = 1
"""Version of this reducer; hashes of different versions are not comparable."""

MAX_STATE_BYTES = 64 * 1024
RECENT_SURPRISES = 128
"""How many surprises the percentile is taken over. Long enough for a .9 quantile, 1 KiB of state."""


BRIEF_CALLS = 32
"""How many calls of one question stand in the state; a model may ask for thousands at once."""


class OpenEffect(Value):
    """An effect of the current cycle, or an older one whose outcome is unknown."""

    cycle: int
    ordinal: int
    action: Action
    arguments: Digest
    effect_class: EffectClass
    stage: Literal["intended", "dispatched", "unknown"] = "intended"


class Asked(Value):
    """A person was asked to allow these arguments; `granted` is their answer."""

    action: Action
    arguments: Digest
    granted: bool | None = None


class SessionState(Value):
    scenario: Digest | None = None
    seed: int = 0
    status: Literal["new", "open", "closed"] = "new"
    outcome: str | None = None
    """Why the session closed."""

    cycle: int = 0
    """The cycle opened last, from 1."""
    cycles_closed: int = 0

    episode: int = 0
    """The episode running or to be begun, from 0."""
    step: int = 0
    """Actions taken in it."""
    stage: Literal["fresh", "running", "ended"] = "fresh"
    """fresh: to be reset; running; ended: its last observation is still to be sensed."""
    episodes: int = 0
    """Episodes that ended."""
    successes: int = 0
    episode_return: float = 0.0
    last_reward: float | None = None
    last_success: bool | None = None

    observed: Digest | None = None
    belief: Belief = Belief(transitions=0, spread=0.0)
    surprises: tuple[float, ...] = ()
    """The last RECENT_SURPRISES, in nats per dimension, newest last."""
    percentile: float | None = None
    """Of the latest surprise; None when there was none this cycle."""
    valence: float = 0.0
    arousal: float = 0.0
    virtues: dict[str, float] = {}
    believed: Digest | None = None
    """Of the encoding that the latest plan began from."""
    persist: Persistence | None = None
    remembered: int = 0

    effects: tuple[OpenEffect, ...] = ()
    asked: Asked | None = None
    failed: bool = False
    """The last effect failed in a way the session cannot go on from."""

    dialogue: Digest | None = None
    """Of the whole conversation: each thing heard or decided is hashed onto what came before; None where the world
    is no conversation."""
    messages: int = 0
    """Messages of people that were heard."""
    unsensed: int = 0
    """Outcomes of tool calls that are still to be sensed."""
    refused: int = 0
    """Cycles in a row in which something was proposed and nothing was allowed."""
    malformed: int = 0
    """Cycles in a row in which no call could be made as it was asked for."""
    unanswered: bool = False
    """No model answered in the last cycle."""

    @property
    def waiting(self) -> bool:
        """A person's answer is awaited."""
        return self.asked is not None and self.asked.granted is None

    @property
    def goes_on(self) -> bool:
        """In a conversation: there is something to reason about without a new message."""
        return self.unsensed > 0 or self.refused > 0 or self.unanswered


Changes = dict[str, object]
"""Fields of the state and their new values."""


def apply(state: SessionState, event: Event | Unknown) -> SessionState:
    """The state after `event`. Events that do not bear on the state leave it as it is."""
    change = _change(state, event)
    return state.model_copy(update=change) if change else state


def apply_to(state: SessionState, event: Event | Unknown) -> None:
    """As `apply`, but changes `state` itself, which nobody else may hold: a long history is folded four times as fast
    as with a copy at each event."""
    if state.dialogue is not None:
        vars(state).update(_change(state, event))
    elif (change := _CHANGES.get(type(event))) is not None:
        vars(state).update(change(state, event))


def _change(state: SessionState, event: Event | Unknown) -> Changes:
    # By class, from tables: pydantic's models answer `isinstance` slowly where the answer is no, and this runs for
    # every event of every session.
    kind = type(event)
    change = _CHANGES.get(kind)
    changed = {} if change is None else change(state, event)
    if state.dialogue is not None and (said := SAID.get(kind)) is not None:
        changed |= said(state, state.dialogue, event)
    return changed


def _opened(_: SessionState, event: session.Opened) -> Changes:
    opened: Changes = {"scenario": event.scenario_digest, "seed": event.seed, "status": "open"}
    action = event.spaces.get("action")
    converses = isinstance(action, dict) and action.get("kind") == "tools"
    return opened | ({"dialogue": NOTHING_SAID} if converses else {})


def _observed(_: SessionState, event: sense.Observed) -> Changes:
    changed: Changes = {"observed": event.digest, "episode": event.episode, "step": event.step}
    if event.ends_episode:
        changed |= {"stage": "fresh", "episode": event.episode + 1, "step": 0, "persist": None}
    else:
        changed["stage"] = "running"
        if event.step == 0:
            changed["episode_return"] = 0.0
    return changed


def _surprised(state: SessionState, event: sense.Surprised) -> Changes:
    return {"surprises": (*state.surprises, event.nats)[-RECENT_SURPRISES:], "percentile": event.percentile}


def _rewarded(state: SessionState, event: learn.Rewarded) -> Changes:
    changed: Changes = {
        "last_reward": event.reward,
        "last_success": event.success,
        "episode_return": event.episode_return,
    }
    if event.ends_episode:
        changed |= {"episodes": state.episodes + 1, "successes": state.successes + bool(event.success)}
    return changed


def _intended(state: SessionState, event: execute.Intended) -> Changes:
    effect = OpenEffect(
        cycle=state.cycle,
        ordinal=event.ordinal,
        action=_brief(event.action),
        arguments=event.arguments,
        effect_class=event.effect_class,
    )
    return {"effects": (*state.effects, effect)}


def _succeeded(state: SessionState, event: execute.Succeeded) -> Changes:
    ended = event.terminated or event.truncated
    stepped = state.step + 1 if event.observed is not None else state.step
    left = _settled(state, state.cycle, event.ordinal)
    return {"effects": left, "step": stepped, "stage": "ended" if ended else state.stage}


def _failed(state: SessionState, event: execute.Failed) -> Changes:
    fatal = any(isinstance(e.action, Move) and _is(e, state.cycle, event.ordinal) for e in state.effects)
    return {"effects": _settled(state, state.cycle, event.ordinal), "failed": fatal}


def _reconciled(state: SessionState, event: execute.Reconciled) -> Changes:
    others = (e for e in state.effects if e.stage != "unknown" or not _is(e, event.cycle, event.ordinal))
    return {"effects": tuple(others)}


def _approved(state: SessionState, event: execute.ApprovalGiven) -> Changes:
    if state.asked is None or state.asked.arguments != event.arguments:
        return {}
    return {"asked": state.asked.model_copy(update={"granted": event.granted})}


_CHANGES: Mapping[type, Callable[[SessionState, Any], Changes]] = {
    session.Opened: _opened,
    session.Closed: lambda _, event: {"status": "closed", "outcome": event.reason},
    session.CycleOpened: lambda _, event: {"cycle": event.cycle, "percentile": None, "asked": None},
    session.CycleClosed: lambda state, _: {"cycles_closed": state.cycles_closed + 1},
    sense.Observed: _observed,
    sense.Surprised: _surprised,
    feel.Felt: lambda _, event: {"valence": event.valence, "arousal": event.arousal, "virtues": event.virtues},
    reason.Planned: lambda _, event: {"believed": event.belief},
    reason.Decided: lambda _, event: {"persist": event.persist},
    execute.Intended: _intended,
    execute.Dispatched: lambda state, event: {"effects": _restage(state, event.ordinal, "dispatched")},
    execute.UnknownOutcome: lambda state, event: {"effects": _restage(state, event.ordinal, "unknown")},
    execute.Succeeded: _succeeded,
    execute.Failed: _failed,
    execute.Cancelled: lambda state, event: {"effects": _settled(state, state.cycle, event.ordinal)},
    execute.Reconciled: _reconciled,
    execute.ApprovalAsked: lambda _, event: {"asked": Asked(action=_brief(event.action), arguments=event.arguments)},
    execute.ApprovalGiven: _approved,
    learn.Rewarded: _rewarded,
    learn.BeliefUpdated: lambda _, event: {"belief": event.posterior},
    learn.Remembered: lambda state, _: {"remembered": state.remembered + 1},
}
"""What each event does to the state. One that is not among them does nothing."""


def _brief(action: Action) -> Action:
    """The action without its content, which may be larger than the state's bound; its digest stands beside it."""
    match action:
        case ToolCalls(calls=calls):
            return ToolCalls(calls=tuple(ToolCall(id=call.id, tool=call.tool) for call in calls[:BRIEF_CALLS]))
        case Say():
            return Say(text="")
        case AskHuman():
            return AskHuman(question="")
    return action


def _restage(state: SessionState, ordinal: int, stage: str) -> tuple[OpenEffect, ...]:
    return tuple(
        effect.model_copy(update={"stage": stage}) if _is(effect, state.cycle, ordinal) else effect
        for effect in state.effects
    )


def _settled(state: SessionState, cycle: int, ordinal: int) -> tuple[OpenEffect, ...]:
    return tuple(effect for effect in state.effects if not _is(effect, cycle, ordinal))


def _is(effect: OpenEffect, cycle: int, ordinal: int) -> bool:
    return (effect.cycle, effect.ordinal) == (cycle, ordinal)


def state_hash(state: SessionState, *, at_most: int | None = None) -> Digest:
    """SHA-256 of the canonical JSON of the state. Raises `StateTooLarge` when that is above `at_most` bytes: a
    cycle that closes gives MAX_STATE_BYTES, while a state that is on the log already is hashed as it is."""
    body = _canonical(state)
    if at_most is not None and len(body) > at_most:
        raise StateTooLarge(
            f"the session's state is {len(body):,} bytes, the bound is {at_most:,}; "
            "its log is intact up to the last closed cycle"
        )
    return hashlib.sha256(body).hexdigest()


_DEFAULTS = tuple((name, field.default) for name, field in SessionState.model_fields.items())


def _canonical(state: SessionState) -> bytes:
    """`values.canonical` of the state, without asking pydantic about its plain fields: three times as fast, at every
    closed cycle of every rebuild."""
    values = vars(state)
    shown = {
        name: value
        for name, default in _DEFAULTS
        if (value := values[name]) is not default and value != default  # most are the default itself
    }
    try:
        return orjson.dumps(shown, default=_plain, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidEvent(f"the state cannot be stored as JSON: {error}") from error


def _plain(value: Value) -> dict[str, Any]:
    return value.model_dump(mode="json", exclude_defaults=True)
