"""Counting a session's events, one after the other.

Knows which events bear on which figure; knows nothing of how figures are told. Invariant: what is kept while counting
does not grow with the session."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Final, TypeVar

from loops.tally import KEPT, Series, Table
from telemetry.events import Event, Unknown, execute, feel, learn, reason, sense, session
from telemetry.events.values import Action, AskHuman, Digest, Move, Say, ToolCall, ToolCalls, canonical_json

T = TypeVar("T")

TOLD: Final = frozenset(
    {
        "session.opened",
        "session.cycle_opened",
        "session.cycle_closed",
        "sense.surprised",
        "feel.inhibited",
        "reason.requested",
        "reason.answered",
        "reason.unanswered",
        "reason.proposed",
        "reason.decided",
        "execute.intended",
        "execute.succeeded",
        "execute.failed",
        "execute.unknown",
        "execute.reconciled",
        "execute.cancelled",
        "execute.approval_asked",
        "execute.approval_given",
        "learn.rewarded",
        "learn.feedback_received",
        "learn.corrected",
    }
)
"""Types that are counted; the others are not even decoded."""

_HELD_BACK = re.compile(r", after \d+ held back$")
"""What `loops.reason` adds to the reasoner's own words."""


class Counts:
    """The figures so far, and what the open cycle needs to be counted."""

    def __init__(self) -> None:
        self.n: Counter[str] = Counter()
        self.cost_usd = 0.0
        self._first: int | None = None
        """The cycle counted first, of a fork not the first there was."""
        self.cycles = 0
        self.actions = Table("tried", "cancelled", "held_back")
        self.strategies = Table("chosen")
        self.unanswered: Counter[str] = Counter()
        self.surprise, self.reward, self.success = Series(), Series(), Series()
        self._playbook: str | None = None
        self._open: dict[Digest, tuple[str, Digest | None]] = {}
        """Effects without a final outcome: the name of each, and the digest of its arguments where it is a call."""
        self._failed: dict[str, Digest] = {}
        """Arguments that a tool failed with last."""
        self._begin()

    def _begin(self) -> None:
        self._proposed: dict[int, list[str]] = {}
        self._asked: dict[int, str] = {}
        self._spoken: list[int] = []
        self._decided: list[str] = []

    def see(self, event: Event | Unknown, *, cycle: int, elapsed_ns: int) -> None:
        if self._first is None and cycle > 0:
            self._first = cycle
        cycle = max(1, cycle - (self._first or 0) + 1)
        self.cycles = max(self.cycles, cycle)
        match event:
            case session.Opened():
                self._playbook = None if event.playbook is None else event.playbook.id
            case session.CycleOpened():
                self._begin()
            case session.CycleClosed():
                self.n["cycles"] += 1
            case sense.Surprised():
                self.surprise.add(cycle, event.nats)
            case feel.Inhibited():
                for name in self._proposed.get(event.proposal, ()):
                    self.actions.add(name, "held_back")
            case reason.Requested() | reason.Answered() | reason.Unanswered():
                self._model(event)
            case reason.Proposed():
                self._proposed[event.proposal] = _names(event.action)
            case reason.Decided():
                self._decide(event)
            case learn.Rewarded():
                self.reward.add(cycle, event.reward)
                self.n["episodes"] += event.ends_episode
                self.n["episodes_succeeded"] += event.ends_episode and event.success is True
            case learn.FeedbackReceived():
                self.n[_feedback(event)] += 1
            case learn.Corrected():
                self.n["corrected"] += 1
            case _:
                self._execute(event, cycle=cycle, elapsed_ns=elapsed_ns)

    def _model(self, event: reason.Requested | reason.Answered | reason.Unanswered) -> None:
        if isinstance(event, reason.Requested):
            self.n["model_calls"] += 1
            named = f"specialist {event.specialist}" if event.specialist else f"endpoint {event.endpoint}"
            self._asked[event.call] = named
            return
        if isinstance(event, reason.Unanswered):
            self.unanswered[event.kind] += 1
        elif event.text or event.calls:
            self._spoken.append(event.call)
        self.n["input_tokens"] += event.usage.input_tokens
        self.n["output_tokens"] += event.usage.output_tokens
        self.cost_usd += event.usage.cost_usd

    def _decide(self, event: reason.Decided) -> None:
        self._decided = _names(event.action)
        if event.proposal is None:
            self.n["refused"] += bool(event.options)
            return
        asked = self._spoken[event.proposal] if event.proposal < len(self._spoken) else None
        named = None if asked is None else self._asked.get(asked)
        self.strategies.add(named or _HELD_BACK.sub("", event.why) or "unnamed", "chosen")
        if self._playbook is not None:
            self.strategies.add(f"playbook {self._playbook}", "chosen")

    def _execute(self, event: Event | Unknown, *, cycle: int, elapsed_ns: int) -> None:
        match event:
            case execute.Intended():
                self._intend(event)
            case execute.Succeeded():
                name = self._settle(event.effect, "succeeded", cycle=cycle)
                self._time(name, elapsed_ns)
            case execute.Failed():
                name = self._settle(event.effect, "failed", cycle=cycle)
                self._time(name, elapsed_ns)
            case execute.UnknownOutcome() if event.effect in self._open:
                name = self._open[event.effect][0]
                self.actions.add(name, "unknown")
                self._time(name, elapsed_ns)
            case execute.Reconciled() if event.effect in self._open:
                self.actions.add(self._open[event.effect][0], "unknown", -1)
                self._settle(event.effect, "succeeded" if event.happened else "failed", cycle=cycle)
            case execute.Cancelled():
                self._cancel(event)
            case execute.ApprovalAsked():
                self.n["asked"] += 1
            case execute.ApprovalGiven():
                self.n["granted" if event.granted else "denied"] += 1

    def _intend(self, event: execute.Intended) -> None:
        (name, *_) = _names(event.action)
        arguments = _arguments(event.action.calls[0]) if isinstance(event.action, ToolCalls) else None
        self.actions.add(name, "tried")
        self.n["repeated"] += arguments is not None and self._failed.get(name) == arguments
        _keep(self._open, event.effect, (name, arguments))

    def _settle(self, effect: Digest, column: str, *, cycle: int) -> str | None:
        """Counts an outcome and returns its action's name; None for an effect that nobody intended."""
        name, arguments = self._open.pop(effect, (None, None))
        if name is None:
            return None
        self.actions.add(name, column)
        self.success.add(cycle, float(column == "succeeded"))
        if arguments is not None and column == "failed":
            _keep(self._failed, name, arguments)
        elif self._failed.get(name) == arguments:
            self._failed.pop(name, None)
        return name

    def _cancel(self, event: execute.Cancelled) -> None:
        """What is given up was mostly not intended yet, so the decision tells its name."""
        name, _ = self._open.pop(event.effect, (None, None))
        if name is None and event.ordinal < len(self._decided):
            name = self._decided[event.ordinal]
        if name is not None:
            self.actions.add(name, "cancelled")

    def _time(self, name: str | None, elapsed_ns: int) -> None:
        if name is not None:
            self.actions.add(name, "timed")
            self.actions.add(name, "elapsed_ns", elapsed_ns)


def _keep(kept: dict[str, T], key: str, value: T) -> None:
    """Keeps the KEPT newest."""
    kept[key] = value
    if len(kept) > KEPT:
        del kept[next(iter(kept))]


def _names(action: Action) -> list[str]:
    """What an action is counted as, one name an effect."""
    match action:
        case ToolCalls(calls=calls):
            return [call.tool for call in calls]
        case Move(to=int(index)):
            return [f"move {index}"]
        case Say():
            return ["say"]
        case AskHuman():
            return ["ask"]
    return [action.kind]


def _arguments(call: ToolCall) -> Digest:
    """Of the arguments alone: every call has an id of its own."""
    return hashlib.sha256(canonical_json(call.arguments).encode()).hexdigest()


def _feedback(event: learn.FeedbackReceived) -> str:
    rating = event.feedback.rating
    if event.implicit:
        return "implicit"
    return "good" if rating and rating > 0 else "bad" if rating and rating < 0 else "words"
