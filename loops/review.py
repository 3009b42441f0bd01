"""What a session came to, counted from its log once it ends.

Knows figures and how they are said; asks nobody and judges nothing. Invariant: every figure is a function of the log
alone, so the same log always gives the same review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from pydantic import JsonValue

from loops.counts import TOLD, Counts
from loops.tally import rounded
from telemetry.events import Recorded, learn

OUTCOMES: Final = ("succeeded", "failed", "unknown", "cancelled", "held_back")


def review(history: Iterable[Recorded]) -> learn.SessionReviewed:
    """The review of one session, from its events in order, in one pass."""
    counts = Counts()
    for recorded in history:
        if recorded.type in TOLD:
            counts.see(recorded.event, cycle=recorded.cycle, elapsed_ns=recorded.elapsed_ns)
    return learn.SessionReviewed(figures=_figures(counts), summary=_summary(counts))


def _figures(counts: Counts) -> dict[str, JsonValue]:
    """Every figure by its name. Trends are of means a half of the cycles, in the units of their names."""
    n = counts.n
    return {
        "cycles": n["cycles"],
        "by_action": {name: _action(row) for name, row in counts.actions.most()},
        "strategies": {name: row["chosen"] for name, row in counts.strategies.most()},
        "success": counts.success.trend(counts.cycles),
        "surprise": counts.surprise.trend(counts.cycles),
        "rewards": {
            "count": counts.reward.count,
            "total": rounded(counts.reward.total),
            **counts.reward.trend(counts.cycles),
        },
        "episodes": {"ended": n["episodes"], "succeeded": n["episodes_succeeded"]},
        "retries": {"repeated": n["repeated"], "corrected": n["corrected"]},
        "approvals": {name: n[name] for name in ("asked", "granted", "denied")},
        "feedback": {name: n[name] for name in ("good", "bad", "words", "implicit")},
        "model": {
            "calls": n["model_calls"],
            "input_tokens": n["input_tokens"],
            "output_tokens": n["output_tokens"],
            "cost_usd": rounded(counts.cost_usd),
            "unanswered": dict(sorted(counts.unanswered.items())),
        },
        "refused": n["refused"],
    }


def _summary(counts: Counts) -> str:
    """What was done, what changed and by how much, and what models cost, in two or three sentences."""
    n, actions = counts.n, counts.actions
    outcomes = [(actions.total(c), c.replace("_", " ")) for c in OUTCOMES]
    told = ", ".join(f"{count} {name}" for count, name in outcomes if count) or "nothing came of them"
    done = f"{_many(n['cycles'], 'cycle')}, {_many(actions.total('tried'), 'action')}: {told}."
    measured = (
        _went("success", counts.success.halves(counts.cycles), scale=100, unit=" %"),
        _went("surprise", counts.surprise.halves(counts.cycles), unit=" nats"),
        _went("reward", counts.reward.halves(counts.cycles)),
    )
    changed = ", ".join(words for words in measured if words)
    halves = f"From the first half to the second, {changed}." if changed else "The halves cannot be compared."
    if not n["model_calls"]:
        return f"{done} {halves}"
    tokens = f"{n['input_tokens']} tokens in, {n['output_tokens']} out, {counts.cost_usd:.4g} USD"
    return f"{done} {halves} Models were asked {_many(n['model_calls'], 'time')}: {tokens}."


def _action(row: Counter[str]) -> dict[str, JsonValue]:
    counts: dict[str, JsonValue] = {name: row[name] for name in ("tried", *OUTCOMES)}
    return counts | {"mean_ms": rounded(row["elapsed_ns"] / row["timed"] / 1e6) if row["timed"] else None}


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _went(what: str, halves: tuple[float | None, float | None], *, scale: float = 1, unit: str = "") -> str:
    first, second = halves
    if first is None or second is None:
        return ""
    if first == second:
        return f"{what} stayed at {first * scale:.3g}{unit}"
    change = (second - first) * scale
    return f"{what} went from {first * scale:.3g} to {second * scale:.3g}{unit} ({change:+.3g})"
