"""Rows of what was done, of what came of it, and of what was learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from telemetry.query.rows.payloads import Numbers, Payload, json_of, json_or_none, numbers, plain_action
from telemetry.query.rows.story import Teller, Telling, id_of
from telemetry.query.rows.tell_talk import tell_outcome


def _intended(telling: Telling, payload: Payload) -> None:
    telling.story.cycle.intents[payload["effect"]] = telling.now


def _dispatched(telling: Telling, payload: Payload) -> None:
    telling.story.cycle.attempts.setdefault(payload["effect"], []).append(telling.now.id)


def _approved(telling: Telling, payload: Payload) -> None:
    telling.story.cycle.approvals[payload["effect"]] = telling.now


def _outcome(telling: Telling, payload: Payload) -> None:
    cycle, effect = telling.story.cycle, payload["effect"]
    intent = cycle.intents.get(effect)
    if intent is None:
        return
    asked, approval = intent.payload, cycle.approvals.get(effect)
    attempts = cycle.attempts.get(effect, ())
    result = payload.get("result")
    telling.tell(
        "actions",
        id_of(cycle.decided),
        id_of(cycle.observed),
        telling.now.id,
        intent.at // 1000,
        effect,
        asked.get("ordinal", 0),
        asked["effect_class"],
        asked.get("proposal"),
        *_action(asked["action"]),
        len(attempts),
        None if approval is None else approval.payload["granted"],
        None if approval is None else approval.payload["by"],
        telling.event.type.partition(".")[2],
        payload.get("kind"),
        payload.get("error") or payload.get("why"),
        json_of(result.get("content")) if result else None,
        payload.get("observed"),
        payload.get("reward"),
        payload.get("terminated", False),
        payload.get("truncated", False),
        payload.get("success"),
        telling.event.elapsed_ns,
        about=intent,
        sources=telling.after(intent.id, id_of(approval), *attempts),
    )
    tell_outcome(telling, payload, intent)


def _action(action: Payload) -> tuple[object, ...]:
    """kind, action, move, move_shape, tool, call, arguments, text."""
    kind = action["kind"]
    move: tuple[Numbers | list[int] | None, list[int] | None] = (None, None)
    call: Payload = {}
    if kind == "move":
        to = action["to"]
        move = (numbers(to), to.get("shape", [])) if isinstance(to, dict) else ([to], [])
    elif kind == "tool_calls":
        call = action["calls"][0]
    arguments = json_of(call.get("arguments", {})) if call else None
    said = action.get("text", action.get("question"))
    return kind, json_of(plain_action(action)), *move, call.get("tool"), call.get("id"), arguments, said


def _rewarded(telling: Telling, payload: Payload) -> None:
    telling.story.cycle.rewarded = payload
    cause = telling.event.cause
    telling.tell(
        "rewards",
        cause or None,
        payload["reward"],
        payload["episode_return"],
        payload.get("success"),
        payload.get("ends_episode", False),
        sources=telling.after(cause),
    )


def _believed(telling: Telling, payload: Payload) -> None:
    prior, posterior = payload["prior"], payload["posterior"]
    telling.tell(
        "beliefs",
        payload["model"],
        prior["transitions"],
        prior["spread"],
        posterior["transitions"],
        posterior["spread"],
    )


def _judged(telling: Telling, payload: Payload) -> None:
    said = payload["feedback"]
    what = "implied" if payload.get("implicit") else "said"
    _feedback(telling, said.get("about"), what, rating=said.get("rating"), text=said.get("text"))


def _corrected(telling: Telling, payload: Payload) -> None:
    _feedback(telling, payload["retry_of"], "corrected", text=payload["why"])


def _reconciled(telling: Telling, payload: Payload) -> None:
    _feedback(telling, telling.event.cause or None, "reconciled", text=payload["why"], found=payload)


def _feedback(
    telling: Telling,
    about: str | None,
    what: str,
    *,
    text: str | None,
    rating: float | None = None,
    found: Payload | None = None,
) -> None:
    found = found or {}
    result = found.get("result")
    telling.tell(
        "feedback",
        about,
        what,
        rating,
        text,
        found.get("by"),
        found.get("happened"),
        json_of(result.get("content")) if result else None,
        sources=telling.after(about),
    )


def _model(telling: Telling, payload: Payload) -> None:
    what = telling.event.type.partition(".")[2].removeprefix("model_").removeprefix("training_")
    figures = payload.get("figures", payload.get("metrics", payload.get("parts")))
    telling.tell(
        "models",
        what,
        payload.get("model"),
        payload.get("incumbent", payload.get("to", payload.get("before"))),
        payload.get("run"),
        payload.get("step"),
        payload.get("loss"),
        payload.get("held_out"),
        payload.get("share", 1.0) if what == "promoted" else None,
        json_or_none(figures),
        payload.get("why"),
    )


def _of_subject(telling: Telling, payload: Payload) -> None:
    """What a person allowed concerns them, on whichever stream it stands."""
    if telling.story.session is None:
        telling.story.subject = payload["subject"]


_OUTCOMES: Final = ("succeeded", "failed", "unknown", "cancelled")
_MODELS: Final = (
    "training_progressed",
    *(f"model_{what}" for what in ("trained", "evaluated", "promoted", "rejected", "rolled_back", "adopted")),
)

DEEDS: Final[Mapping[str, Teller]] = {
    "execute.intended": _intended,
    "execute.dispatched": _dispatched,
    "execute.approval_given": _approved,
    **{f"execute.{outcome}": _outcome for outcome in _OUTCOMES},
    "execute.reconciled": _reconciled,
    "learn.rewarded": _rewarded,
    "learn.belief_updated": _believed,
    "learn.feedback_received": _judged,
    "learn.corrected": _corrected,
    **{f"learn.{what}": _model for what in _MODELS},
    **{f"privacy.{what}": _of_subject for what in ("consent_granted", "consent_withdrawn", "subject_erased")},
}
