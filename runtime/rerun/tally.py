"""Counting what a rerun finds, one cycle after the other. Invariant: what is kept does not grow with the sessions,
but for the differences that are asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from runtime.rerun.values import KINDS, Counts, Difference, Kind, SessionRerun, Surprise
from telemetry.events import sense


@dataclass(slots=True)
class Mean:
    """Of the surprises of one model."""

    count: int = 0
    nats: float = 0.0
    error: float = 0.0

    def add(self, surprised: sense.Surprised) -> None:
        self.count += 1
        self.nats += surprised.nats
        self.error += surprised.error

    def of(self, total: float) -> float | None:
        return total / self.count if self.count else None


@dataclass(slots=True)
class Surprises:
    """Of two models over the transitions that both predicted, and of one where the other predicts nothing at all."""

    recorded: Mean = field(default_factory=Mean)
    policy: Mean = field(default_factory=Mean)
    recorded_alone: Mean = field(default_factory=Mean)
    policy_alone: Mean = field(default_factory=Mean)

    def see(self, recorded: sense.Surprised | None, policy: sense.Surprised | None) -> None:
        both = recorded is not None and policy is not None
        if recorded is not None:
            (self.recorded if both else self.recorded_alone).add(recorded)
        if policy is not None:
            (self.policy if both else self.policy_alone).add(policy)

    def result(self) -> Surprise | None:
        recorded, policy = self.recorded, self.policy
        if not recorded.count:
            recorded, policy = self.recorded_alone, self.policy_alone
        if not recorded.count and not policy.count:
            return None
        return Surprise(
            transitions=max(recorded.count, policy.count),
            recorded_nats=recorded.of(recorded.nats),
            policy_nats=policy.of(policy.nats),
            recorded_error=recorded.of(recorded.error),
            policy_error=policy.of(policy.error),
        )


class Tally:
    """Counts cycles and keeps the first `keep` differences."""

    def __init__(self, *, keep: int = 0) -> None:
        self.surprise = Surprises()
        self._kinds: Counter[Kind] = Counter()
        self._identical = 0
        self._before_first = 0
        self._first: Difference | None = None
        self._differences: list[Difference] = []
        self._keep = keep

    def add(self, kind: Kind, cycle: int, event: str, why: str, *, identical: bool = False) -> None:
        self._kinds[kind] += 1
        self._identical += identical
        if kind == "same":
            self._before_first += self._first is None
            return
        difference = Difference(cycle=cycle, event=event, kind=kind, why=why)
        self._first = self._first or difference
        if len(self._differences) < self._keep:
            self._differences.append(difference)

    @property
    def counts(self) -> Counts:
        return Counts(cycles=self._kinds.total(), **{kind: self._kinds[kind] for kind in KINDS})

    def row(self, session: str, scenario: str) -> SessionRerun:
        counts = self.counts
        cycles = counts.cycles
        return SessionRerun(
            session=session,
            scenario=scenario,
            cycles=cycles,
            covered=counts.same,
            share=counts.share,
            covered_before_first=self._before_first,
            share_before_first=self._before_first / cycles if cycles else None,
            identical=self._identical,
            counts=counts,
            first=self._first,
            differences=tuple(self._differences),
            differences_left_out=cycles - counts.same - len(self._differences),
            surprise=self.surprise.result(),
        )
