"""Rows of what was perceived, of surprise, and of what was remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from telemetry.query.rows.payloads import Numbers, Payload, json_of, json_or_none, numbers, plain_action, words
from telemetry.query.rows.story import Teller, Telling, id_of
from telemetry.query.rows.tell_talk import tell_heard

_NOTHING: Final = np.empty(0)


def _observed(telling: Telling, payload: Payload) -> None:
    observations = payload.get("observations", ())
    arrays = [one for one in observations if one["kind"] == "array"]
    others = [one for one in observations if one["kind"] != "array"]
    text = "\n".join(said for one in others if (said := words(one)))
    goal = payload.get("goal")
    cycle = telling.story.cycle
    cycle.observed, cycle.text = telling.now, text or None
    telling.tell(
        "observations",
        payload["digest"],
        payload.get("episode", 0),
        payload.get("step", 0),
        payload.get("ends_episode", False),
        [one["name"] for one in arrays],
        [one["array"]["dtype"] for one in arrays],
        [one["array"].get("shape", ()) for one in arrays],
        _joined([numbers(one["array"]) for one in arrays]),
        None if goal is None else numbers(goal["achieved"]),
        None if goal is None else numbers(goal["desired"]),
        json_of(others) if others else None,
        text or None,
        payload.get("of", ()),
    )
    tell_heard(telling, others)


def _joined(flat: list[Numbers]) -> Numbers:
    return np.concatenate([one.astype(np.float64) for one in flat]) if len(flat) > 1 else flat[0] if flat else _NOTHING


def _surprised(telling: Telling, payload: Payload) -> None:
    cycle = telling.story.cycle
    cycle.surprised = payload
    cause, observed = telling.event.cause or None, cycle.observed
    prediction = None if observed is not None and cause == observed.id else cause
    telling.tell(
        "surprises",
        prediction,
        id_of(observed),
        payload["error"],
        payload["nats"],
        payload["percentile"],
        payload["model"],
        sources=telling.after(prediction, id_of(observed)),
    )


def _recalled(telling: Telling, payload: Payload) -> None:
    cycle, hits = telling.story.cycle, payload.get("hits", ())
    observed = id_of(cycle.observed)
    telling.tell(
        "recalls",
        observed,
        cycle.text,
        payload["query"],
        payload["embedder"],
        payload["k"],
        [hit["event"] for hit in hits],
        [hit["score"] for hit in hits],
        [hit.get("text", "") for hit in hits],
        sources=telling.after(observed),
    )


def _remembered(telling: Telling, payload: Payload) -> None:
    episode = payload["episode"]
    action = episode.get("action")
    observed = id_of(telling.story.cycle.observed)
    telling.tell(
        "memories",
        observed,
        json_or_none(None if action is None else plain_action(action)),
        episode.get("reward"),
        episode.get("nats"),
        episode["why"],
        episode.get("text"),
        payload["embedder"],
        numbers(payload["vector"]),
        sources=telling.after(observed),
    )


SENSES: Final[Mapping[str, Teller]] = {
    "sense.observed": _observed,
    "sense.surprised": _surprised,
    "sense.recalled": _recalled,
    "learn.remembered": _remembered,
}
