"""What each event of the vocabulary becomes: a span of its own, part of one, an event on one, or a score.

The table in docs/telemetry.md is this one. Invariant: every type has one rule, and what comes of it is among the
attributes that the rule names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from telemetry.events import Recorded
from telemetry.otel import names
from telemetry.otel.span import Attribute, SpanEvent
from telemetry.otel.spans import calls, effects, parts, scores
from telemetry.otel.spans.about import Body
from telemetry.otel.spans.draft import Draft
from telemetry.otel.spans.drawing import Drawing
from telemetry.otel.spans.fields import Fields, pairs_of, take

Handler: TypeAlias = Callable[[Drawing, Draft, Recorded, Body, int, int], None]
"""Draws an event, whose command lasted from the one time to the other, onto the span that it stands in."""


@dataclass(frozen=True, slots=True)
class Rule:
    shows: str
    """In words."""
    attributes: tuple[str, ...]
    """Every attribute that may come of it."""
    draw: Handler
    content: tuple[str, ...] = ()
    """Those that come of it only where content may leave."""
    alone: Handler | None = None
    """How it is drawn onto a span of its own, where it stands in no cycle; None: as within one."""
    reads: bool = True
    """Whether its payload is asked for."""


def part(fields: Fields, *, content: Fields | None = None) -> Rule:
    """Attributes of the span that it stands in."""
    draw = _onto(fields, content or {})
    return Rule("attributes of the span of its phase", tuple(fields.values()), draw, tuple((content or {}).values()))


def moment(fields: Fields, *, content: Fields | None = None) -> Rule:
    """An event on the span that it stands in, under its type's name."""
    pairs, words = pairs_of(fields), pairs_of(content or {})

    def draw(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
        attributes: dict[str, Attribute] = {names.EVENT: event.id}
        take(attributes, pairs, body)
        if drawing.content:
            take(attributes, words, body)
        on.events.append(SpanEvent(event.type, end, attributes))
        if event.cause and event.type in LINKED:
            drawing.link(on, event.cause, "follows")

    attributes = (names.EVENT, *fields.values())
    alone = _onto(fields, content or {})
    return Rule("a span event of its name", attributes, draw, tuple((content or {}).values()), alone)


def _onto(fields: Fields, content: Fields) -> Handler:
    pairs, words = pairs_of(fields), pairs_of(content)

    def draw(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
        take(on.attributes, pairs, body)
        if drawing.content:
            take(on.attributes, words, body)

    return draw


LINKED: Final = frozenset({"execute.reconciled"})
"""Types whose cause lies in an earlier cycle."""


def _corrected(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    _CORRECTED.draw(drawing, on, event, body, start, end)
    if (earlier := body.get("retry_of")) is not None:
        drawing.link(on, earlier, "retry_of")


_CORRECTED: Final = moment({}, content={"why": names.WHY})


def _words(*fields: Fields | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for part in fields for name in (part.values() if isinstance(part, Mapping) else part))


_RESULT: Final = (names.EVALUATION_NAME, names.EVENT)
_WHY: Final = (names.WHY,)
_MEMORY: Final = (names.OPERATION, names.EVENT, names.MEMORY_RECORD, names.MEMORY_COUNT)
_ENDS_EFFECT: Final = (names.OUTCOME, names.OUTCOME_EVENT)
_ENDS_CHAT: Final = (names.OUTCOME_EVENT, names.INPUT_TOKENS, names.OUTPUT_TOKENS, names.COST)
_OPENS: Final = (names.CONVERSATION, names.STREAM, names.AGENT_NAME, names.AGENT_VERSION, names.ENVIRONMENT)
_JUDGED: Final = Rule(
    f"its own span, with a `{names.EVALUATION}` for each figure",
    _words(scores.EVALUATED, _RESULT, (names.SCORE,)),
    scores.evaluated,
    _WHY,
)

RULES: Final[Mapping[str, Rule]] = {
    "session.opened": Rule(
        f"the beginning of the span `{names.SESSION} {{scenario}}`",
        (*_OPENS, names.SEED, names.PURPOSE, names.PLAYBOOK),
        parts.nothing,
    ),
    "session.forked": Rule(
        f"the beginning of the fork's span `{names.SESSION} {{scenario}}`, linked to where it was cut",
        _OPENS,
        parts.nothing,
    ),
    "session.resumed": moment({"after": names.AFTER, "verified_to": names.VERIFIED_TO}),
    "session.suspended": moment({"cycles": names.CYCLES}, content={"reason": names.WHY}),
    "session.closed": Rule(
        f"the end of the span `{names.SESSION} {{scenario}}`, and of a cycle that is open",
        (*parts.CLOSED.values(), names.ERROR_TYPE),
        parts.closed,
    ),
    "session.cycle_opened": Rule(
        f"the beginning of the trace and of its root `{names.INVOKE_AGENT} {{scenario}}`",
        (names.OPERATION, names.PROVIDER, *_OPENS, names.CYCLE, names.MODE),
        parts.nothing,
        (names.INPUT_MESSAGES, names.OUTPUT_MESSAGES),
        reads=False,
    ),
    "session.cycle_closed": Rule("the end of the root", _words(parts.CLOSED_CYCLE, parts.USAGE), parts.closed_cycle),
    "sense.observed": Rule(
        "attributes of the span of its phase",
        (names.OBSERVATION, names.OBSERVATIONS, names.EPISODE, names.STEP, names.ENDS_EPISODE),
        parts.observed,
    ),
    "sense.recalled": Rule(
        f"the span `{names.SEARCH_MEMORY}`, linked to what was recalled",
        _words(
            (names.OPERATION, names.EVENT), calls.RECALLED, (names.MEMORY_COUNT, names.RECALL_HITS, names.RECALL_SCORES)
        ),
        calls.recalled,
        (names.MEMORY_RECORDS,),
    ),
    "sense.surprised": Rule(
        f"`{names.EVALUATION}` named `{names.SURPRISE}`, in nats, linked to the prediction's cycle",
        _words(_RESULT, (names.SCORE,), scores.SURPRISED),
        scores.surprised,
    ),
    "sense.context_compacted": moment(
        {
            "policy": names.COMPACTION_POLICY,
            "before_tokens": names.COMPACTION_BEFORE,
            "after_tokens": names.COMPACTION_AFTER,
        }
    ),
    "feel.felt": Rule(
        "attributes of the span of its phase", (names.VALENCE, names.AROUSAL, f"{names.VIRTUE}.{{virtue}}"), parts.felt
    ),
    "feel.appraised": Rule(
        f"counted on the span of its phase; a refusal or a question is `{names.EVALUATION}` named `{names.APPRAISAL}`",
        _words((names.ALLOWED, names.CONSTRAINTS), _RESULT, (names.SCORE_LABEL, names.RULES), scores.APPRAISED),
        scores.appraised,
        (names.EXPLANATION,),
    ),
    "feel.inhibited": moment({"proposal": names.PROPOSAL, "arguments": names.ARGUMENTS, "rules": names.RULES}),
    "feel.alternative_offered": moment(
        {"instead_of": names.INSTEAD_OF, "proposal": names.PROPOSAL, "action.kind": names.ACTION},
        content={"why": names.WHY},
    ),
    "reason.requested": Rule(
        f"the beginning of the span `{names.CHAT} {{model}}`",
        _words(
            (names.OPERATION, names.PROVIDER, names.CONVERSATION, names.EVENT, names.CONTEXT),
            calls.REQUESTED,
            tuple(dict.fromkeys(names.REQUEST_PARAMETERS.values())),
            (names.SERVER_ADDRESS, names.SERVER_PORT),
        ),
        calls.requested,
        (names.INPUT_MESSAGES,),
    ),
    "reason.answered": Rule(
        f"the end of the span `{names.CHAT} {{model}}`",
        (names.RESPONSE_MODEL, names.FINISH_REASONS, names.CALLS, *_ENDS_CHAT),
        calls.answered,
        (names.OUTPUT_MESSAGES,),
    ),
    "reason.unanswered": Rule(
        f"the end of the span `{names.CHAT} {{model}}`, as an error",
        (names.ERROR_TYPE, names.ATTEMPTS, names.HTTP_STATUS, *_ENDS_CHAT),
        calls.unanswered,
    ),
    "reason.planned": Rule(
        f"the span `{names.PLAN} {{scenario}}`",
        _words((names.OPERATION, names.AGENT_NAME, names.EVENT, names.PLAN_OPTIONS, names.PLAN_ENERGY), calls.PLANNED),
        calls.planned,
    ),
    "reason.proposed": Rule("counted on the span of its phase", (names.PROPOSALS,), parts.proposed, reads=False),
    "reason.predicted": part({"model": names.PREDICTION_MODEL}),
    "reason.decided": Rule(
        "attributes of the span of its phase", (*parts.DECIDED.values(), names.OPTIONS), parts.decided, _WHY
    ),
    "execute.intended": Rule(
        f"the beginning of the span `{names.EXECUTE_TOOL} {{tool}}`, `{names.ACT} {{environment}}`, `{names.SAY}` or "
        f"`{names.ASK_HUMAN}`",
        _words(
            (names.EVENT,),
            effects.INTENDED,
            (names.OPERATION, names.TOOL_NAME, names.TOOL_TYPE, names.TOOL_CALL_ID),
        ),
        effects.intended,
        (names.TOOL_CALL_ARGUMENTS,),
    ),
    "execute.dispatched": Rule("counted on the span of its effect", (names.ATTEMPTS,), effects.dispatched),
    "execute.succeeded": Rule(
        "the end of the span of its effect",
        _words(_ENDS_EFFECT, effects.SUCCEEDED, (names.ERROR_TYPE,)),
        effects.succeeded,
        (names.TOOL_CALL_RESULT,),
    ),
    "execute.failed": Rule(
        "the end of the span of its effect, as an error", (*_ENDS_EFFECT, names.ERROR_TYPE), effects.failed
    ),
    "execute.unknown": Rule(
        "the end of the span of its effect, as an error", (*_ENDS_EFFECT, names.ERROR_TYPE), effects.unknown
    ),
    "execute.reconciled": moment(
        {"effect": names.EFFECT, "happened": names.HAPPENED, "cycle": names.CYCLE}, content={"why": names.WHY}
    ),
    "execute.cancelled": Rule(
        "the end of the span of its effect; a span event where there was no intent",
        (*_ENDS_EFFECT, names.EVENT, names.EFFECT),
        effects.cancelled,
        _WHY,
    ),
    "execute.approval_asked": Rule(
        f"the beginning of the span `{names.APPROVAL}`",
        _words((names.EVENT,), effects.ASKED),
        effects.approval_asked,
        _WHY,
    ),
    "execute.approval_given": Rule(
        f"the end of the span `{names.APPROVAL}`", (names.GRANTED, names.OUTCOME_EVENT), effects.approval_given
    ),
    "learn.rewarded": Rule(
        f"`{names.EVALUATION}` named `{names.REWARD}`, on the span of the effect",
        _words(_RESULT, (names.SCORE,), scores.REWARDED),
        scores.rewarded,
    ),
    "learn.feedback_received": Rule(
        f"`{names.EVALUATION}` named `{names.FEEDBACK}`, linked to the cycle that it is about",
        (*_RESULT, names.SCORE, names.SCORE_LABEL, names.IMPLICIT),
        scores.feedback,
        (names.EXPLANATION,),
    ),
    "learn.remembered": Rule(
        f"the span `{names.UPSERT_MEMORY}`",
        (*_MEMORY, names.EMBEDDER, names.REMEMBERED),
        calls.remembered,
        (names.MEMORY_RECORDS,),
    ),
    "learn.forgotten": Rule(
        f"the span `{names.DELETE_MEMORY}`, linked to what was remembered", _MEMORY, calls.forgotten, _WHY
    ),
    "learn.belief_updated": part(
        {
            "model": names.BELIEF_MODEL,
            "posterior.transitions": names.TRANSITIONS,
            "prior.spread": names.SPREAD_BEFORE,
            "posterior.spread": names.SPREAD,
        }
    ),
    "learn.strategy_adjusted": moment({"strategy": names.STRATEGY}, content={"why": names.WHY}),
    "learn.playbook_written": moment(
        {"playbook.name": names.PLAYBOOK, "previous": names.MODEL_BEFORE}, content={"why": names.WHY}
    ),
    "learn.corrected": Rule(
        "a span event of its name, linked to the attempt that it stands in for", (names.EVENT,), _corrected, _WHY
    ),
    "learn.session_reviewed": Rule(
        f"its own span, with a `{names.EVALUATION}` for each figure that judges",
        (*_RESULT, names.SCORE),
        scores.reviewed,
        _WHY,
    ),
    "learn.dataset_built": moment(
        {
            "recipe": names.RECIPE,
            "rows": names.ROWS,
            "digest": names.DATASET_DIGEST,
            "pinned_position": names.PINNED,
        }
    ),
    "learn.training_progressed": Rule(
        f"a span event of its name on the span `{names.TRAIN} {{model}}`",
        (
            names.EVENT,
            names.RUN,
            names.TRAINING_STEP,
            names.TRAINING_STEPS,
            names.TRAINING_LOSS,
            names.TRAINING_HELD_OUT,
        ),
        moment(
            {
                "run": names.RUN,
                "step": names.TRAINING_STEP,
                "steps": names.TRAINING_STEPS,
                "loss": names.TRAINING_LOSS,
                "held_out": names.TRAINING_HELD_OUT,
            }
        ).draw,
    ),
    "learn.model_trained": Rule(
        f"the end of the span `{names.TRAIN} {{model}}`",
        (*parts.TRAINED.values(), f"{names.METRIC}.{{metric}}"),
        parts.trained,
    ),
    "learn.model_evaluated": _JUDGED,
    "learn.model_promoted": _JUDGED,
    "learn.model_rejected": _JUDGED,
    "learn.model_rolled_back": _JUDGED,
    "learn.model_adopted": moment({"model": names.MODEL, "before": names.MODEL_BEFORE}, content={"why": names.WHY}),
    "privacy.consent_granted": moment({"purposes": names.PURPOSES}),
    "privacy.consent_withdrawn": moment({"purposes": names.PURPOSES}),
    "privacy.subject_erased": Rule("attributes of its own span", (names.KEYS,), parts.erased),
    "system.pruned": moment({"archive": names.ARCHIVE, "first": names.FIRST, "version": names.LAST}),
    "system.restored": moment({"archive": names.ARCHIVE, "first": names.FIRST, "version": names.LAST}),
}

UNKNOWN: Final = Rule("a span event of its name", (names.EVENT, names.DIGEST), moment({}).draw)
"""Of a type or a shape that this version does not know."""
