"""What a session is, as far as it matters for what it does next; and the only reducer.

Knows events; knows no clock, no randomness, no float arithmetic: recorded values are copied.
Invariants: `apply` is total on a valid log; the state stays under MAX_STATE_BYTES and holds no ids,
versions, times or epochs, so a session that was interrupted ends in the state of one that was not."""

from __future__ import annotations

import hashlib
from typing import Literal

from loops.errors import StateTooLarge
from telemetry.events import Event, Unknown, execute, feel, learn, reason, sense, session
from telemetry.events.values import (
    Action,
    AskHuman,
    Belief,
    Digest,
    EffectClass,
    Message,
    Move,
    Persistence,
    Say,
    ToolCall,
    ToolCalls,
    Value,
    Wait,
    canonical,
    canonical_json,
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


def apply(state: SessionState, event: Event | Unknown) -> SessionState:
    """The state after `event`. Events that do not bear on the state leave it as it is."""
    change = _change(state, event)
    if state.dialogue is not None:
        change |= _conversed(state, state.dialogue, event)
    return state.model_copy(update=change) if change else state


def _change(state: SessionState, event: Event | Unknown) -> dict[str, object]:
    match event:
        case session.Opened():
            opened: dict[str, object] = {"scenario": event.scenario_digest, "seed": event.seed, "status": "open"}
            return opened | ({"dialogue": NOTHING_SAID} if _is_conversation(event) else {})
        case session.Closed():
            return {"status": "closed", "outcome": event.reason}
        case session.CycleOpened():
            return {"cycle": event.cycle, "percentile": None, "asked": None}
        case session.CycleClosed():
            return {"cycles_closed": state.cycles_closed + 1}
        case sense.Observed() | sense.Surprised():
            return _sensed(state, event)
        case feel.Felt():
            return {"valence": event.valence, "arousal": event.arousal, "virtues": event.virtues}
        case reason.Decided():
            return {"persist": event.persist}
        case learn.Rewarded():
            return _rewarded(state, event)
        case learn.BeliefUpdated():
            return {"belief": event.posterior}
        case learn.Remembered():
            return {"remembered": state.remembered + 1}
        case _ if event.type.startswith("execute."):
            return _executed(state, event)
    return {}


NOTHING_SAID = "0" * 64


def _is_conversation(event: session.Opened) -> bool:
    action = event.spaces.get("action")
    return isinstance(action, dict) and action.get("kind") == "tools"


def _conversed(state: SessionState, before: Digest, event: Event | Unknown) -> dict[str, object]:
    """What `event` is to a conversation."""
    match event:
        case sense.Observed():
            said = sum(isinstance(o, Message) and o.role == "user" for o in event.observations)
            return {
                "dialogue": _onto(before, "heard", event.digest),
                "messages": state.messages + said,
                "unsensed": 0,
                "unanswered": False,
            }
        case sense.ContextCompacted():
            return {"dialogue": _onto(before, "compacted", event.summary)}
        case reason.Unanswered():
            return {"unanswered": True}
        case reason.Proposed():
            return {"unanswered": False}
        case reason.Decided():
            nothing = event.proposal is None and isinstance(event.action, Wait) and bool(event.options)
            return {
                "dialogue": _onto(before, "decided", event.arguments),
                "refused": state.refused + 1 if nothing else 0,
            }
        case execute.Succeeded() if event.result is not None:
            return _answered(state, malformed=False)
        case execute.Failed():
            return _answered(state, malformed=event.kind == "invalid")
        case execute.UnknownOutcome() | execute.Cancelled():
            return _answered(state, malformed=False)
        case execute.Reconciled():
            found = event.model_dump(mode="json", exclude={"effect"}, exclude_defaults=True)
            return {"dialogue": _onto(before, "reconciled", canonical_json(found))}
    return {}


def _answered(state: SessionState, *, malformed: bool) -> dict[str, object]:
    # Calls of one cycle that cannot be made count once: the first one counts, any that can be made ends the row.
    # What was answered is hashed when it is sensed, because parallel calls answer in any order.
    first = state.unsensed == 0
    row = state.malformed + first if malformed and (first or state.malformed) else 0
    return {"unsensed": state.unsensed + 1, "malformed": row}


def _onto(before: Digest, kind: str, what: str) -> Digest:
    return hashlib.sha256("\x1f".join((before, kind, what)).encode()).hexdigest()


def _sensed(state: SessionState, event: sense.Observed | sense.Surprised) -> dict[str, object]:
    if isinstance(event, sense.Surprised):
        recent = (*state.surprises, event.nats)[-RECENT_SURPRISES:]
        return {"surprises": recent, "percentile": event.percentile}
    changed: dict[str, object] = {"observed": event.digest, "episode": event.episode, "step": event.step}
    if event.ends_episode:
        changed |= {"stage": "fresh", "episode": event.episode + 1, "step": 0, "persist": None}
    else:
        changed["stage"] = "running"
        if event.step == 0:
            changed["episode_return"] = 0.0
    return changed


def _rewarded(state: SessionState, event: learn.Rewarded) -> dict[str, object]:
    changed: dict[str, object] = {
        "last_reward": event.reward,
        "last_success": event.success,
        "episode_return": event.episode_return,
    }
    if event.ends_episode:
        changed |= {"episodes": state.episodes + 1, "successes": state.successes + bool(event.success)}
    return changed


def _executed(state: SessionState, event: Event | Unknown) -> dict[str, object]:
    match event:
        case execute.Intended():
            effect = OpenEffect(
                cycle=state.cycle,
                ordinal=event.ordinal,
                action=_brief(event.action),
                arguments=event.arguments,
                effect_class=event.effect_class,
            )
            return {"effects": (*state.effects, effect)}
        case execute.Dispatched():
            return {"effects": _restage(state, event.ordinal, "dispatched")}
        case execute.UnknownOutcome():
            return {"effects": _restage(state, event.ordinal, "unknown")}
        case execute.Succeeded():
            ended = event.terminated or event.truncated
            stepped = state.step + 1 if event.observed is not None else state.step
            left = _settled(state, state.cycle, event.ordinal)
            return {"effects": left, "step": stepped, "stage": "ended" if ended else state.stage}
        case execute.Failed():
            fatal = any(isinstance(e.action, Move) and _is(e, state.cycle, event.ordinal) for e in state.effects)
            return {"effects": _settled(state, state.cycle, event.ordinal), "failed": fatal}
        case execute.Cancelled():
            return {"effects": _settled(state, state.cycle, event.ordinal)}
        case execute.Reconciled():
            others = (e for e in state.effects if e.stage != "unknown" or not _is(e, event.cycle, event.ordinal))
            return {"effects": tuple(others)}
        case execute.ApprovalAsked():
            return {"asked": Asked(action=_brief(event.action), arguments=event.arguments)}
        case execute.ApprovalGiven() if state.asked is not None and state.asked.arguments == event.arguments:
            return {"asked": state.asked.model_copy(update={"granted": event.granted})}
    return {}


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
    body = canonical(state)
    if at_most is not None and len(body) > at_most:
        raise StateTooLarge(
            f"the session's state is {len(body):,} bytes, the bound is {at_most:,}; "
            "its log is intact up to the last closed cycle"
        )
    return hashlib.sha256(body).hexdigest()
