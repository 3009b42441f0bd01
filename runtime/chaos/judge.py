"""What a log, a ledger and what a killed process was told say about losses and repeats. Runs nothing.

Invariant: an effect is counted at most once as done twice, by the log or by the ledger, whichever shows more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from loops.effects import SETTLE
from telemetry.events import Recorded, execute
from telemetry.events.values import EffectClass

Acknowledged = tuple[str, int, str]
"""Stream, version and hash of an event."""


@dataclass(frozen=True, slots=True)
class Found:
    """How many, and each in words."""

    twice: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(slots=True)
class _Effect:
    effect_class: EffectClass
    dispatched: int = 0
    outcomes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Effects:
    """What the log alone says of its effects."""

    found: Found
    unknown: int
    """Effects whose outcome is said to be unknown, and was not found out since."""


def lost_events(told: Iterable[Acknowledged], kept: Iterable[Recorded]) -> tuple[str, ...]:
    """Acknowledged events that are not on the log any more, or stand there with another hash."""
    hashes = {(r.stream, r.version): r.hash.hex() for r in kept}
    return tuple(
        f"{stream}@{version} was acknowledged and is "
        + ("not on the log" if (stream, version) not in hashes else "another event now")
        for stream, version, digest in dict.fromkeys(told)
        if hashes.get((stream, version)) != digest
    )


def effects(events: Iterable[Recorded]) -> Effects:
    """Judges a session that has come to rest: each intent has one outcome, and was dispatched again only where its
    class says how that is settled."""
    known: dict[str, _Effect] = {}
    for recorded in events:
        match recorded.event:
            case execute.Intended(effect=key, effect_class=kind):
                known.setdefault(key, _Effect(kind))
            case execute.Dispatched(effect=key) if key in known:
                known[key].dispatched += 1
            case (
                execute.Succeeded(effect=key)
                | execute.Failed(effect=key)
                | execute.UnknownOutcome(effect=key)
                | execute.Cancelled(effect=key)
            ) if key in known:
                known[key].outcomes.append(recorded.type)
            case execute.Reconciled(effect=key) if key in known:
                known[key].outcomes = [recorded.type]
    twice, lost, unknown = [], [], 0
    for key, effect in known.items():
        unknown += effect.outcomes == ["execute.unknown"]
        if len(effect.outcomes) > 1:
            twice.append(f"effect {key[:12]} has {len(effect.outcomes)} outcomes")
        elif effect.dispatched > 1 and SETTLE[effect.effect_class] == "unknown":
            twice.append(f"effect {key[:12]} is {effect.effect_class} and was dispatched {effect.dispatched} times")
        elif not effect.outcomes:
            lost.append(f"effect {key[:12]} was intended and has no outcome")
    return Effects(Found(tuple(twice), tuple(lost)), unknown)


def ledger(undisturbed: Counter[str], here: Counter[str], *, unknown: int) -> Found:
    """What really happened, beside what happens when nobody kills. As many missing lines as there are unknown outcomes
    are not lost: that they may be missing is what was said."""
    twice = [
        f"done twice: {line!r} happened {here[line]} times, undisturbed {undisturbed[line]}"
        for line, more in sorted((here - undisturbed).items())
        for _ in range(more)
    ]
    missing = [
        f"lost: {line!r} happened {here[line]} times, undisturbed {undisturbed[line]}"
        for line, fewer in sorted((undisturbed - here).items())
        for _ in range(fewer)
    ]
    return Found(tuple(twice), tuple(missing[unknown:]))
