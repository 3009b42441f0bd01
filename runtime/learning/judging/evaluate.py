"""A candidate is judged: pairs of sessions, look after look, until the rule has decided.

Knows the order of things; who runs sessions is given. Invariant: what is judged was read from the log, and each look is
on it before the next begins; sessions that are there are not run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from loops.randomness import derive
from runtime.entry import enter, said
from runtime.errors import Unavailable, UsageError
from runtime.hosting.orders import SessionOrder
from runtime.learning.fleet import Ran
from runtime.learning.judging.outcomes import Episode, first_episode
from runtime.learning.judging.sequential import Design
from runtime.learning.judging.trial import ARMS, Trial, seeds_of
from runtime.learning.judging.verdict import HeldOut, Judgement, Pair, foresees, judge
from runtime.models.registry.store import Registry, find
from runtime.sessions import stream_of
from telemetry.events.learn import ModelEvaluated
from telemetry.events.values import EventId
from telemetry.log import open_log

MOST_LEFT_OUT = 0.05
"""Share of a look's pairs that may be without an outcome, as much as success may be lower: what is left out could hide
no more than what is allowed."""

Run = Callable[[Sequence[SessionOrder]], Ran]
"""Runs new sessions, and those that are on the log already to their end."""


@dataclass(frozen=True, slots=True)
class Look:
    """`pairs` were asked for by then; `judgement` says what came of those there are."""

    pairs: int
    judgement: Judgement
    event: EventId
    """`learn.model_evaluated`."""
    ends: tuple[EventId, ...]
    """What closed the sessions that it rests on."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    looks: tuple[Look, ...]
    """Empty where the candidate was rejected before any session was run."""
    judgement: Judgement
    """The last."""

    @property
    def refs(self) -> tuple[EventId, ...]:
        return tuple(look.event for look in self.looks)


def design_of(trial: Trial) -> Design:
    """What the scenario asks for."""
    return Design(looks=trial.settings.pairs)


def evaluate(
    trial: Trial,
    *,
    url: str,
    registry: Registry,
    run: Run,
    design: Design | None = None,
    most: int | None = None,
    told: Callable[[Look], None] = lambda _: None,
) -> Evaluation:
    """Judges the trial on the log at `url` and tells of each look. `most` stops after that look, decided or not, and
    changes no level: going on later is the same trial.

    Raises `UsageError` for what cannot be compared, `Unavailable` where too many sessions have no outcome, and what
    finding the models, running sessions and entering events raise. What ran by then is on the log."""
    design = design or design_of(trial)
    looks = looks_up_to(design, most)
    judging = _Judging(trial, design, url, trial.budget(), run, held_out_of(trial, registry=registry, url=url))
    first = foresees(judging.held_out)
    if first.decision == "reject":
        return Evaluation((), first)
    for pairs in looks:
        look = judging.look(pairs)
        told(look)
        if look.judgement.decision != "go_on":
            break
    return Evaluation(tuple(judging.looks), judging.looks[-1].judgement)


def looks_up_to(design: Design, most: int | None) -> tuple[int, ...]:
    """Raises `UsageError` where there is no look of so many pairs: one in between would spend what is not planned."""
    if most is not None and most not in design.looks:
        shown = ", ".join(map(str, design.looks))
        raise UsageError(f"a candidate is looked at after {shown} pairs, not after {most}. Nothing was run")
    return tuple(look for look in design.looks if most is None or look <= most)


def held_out_of(trial: Trial, *, registry: Registry, url: str) -> HeldOut:
    from runtime.learning.judging.foresight import held_out_errors  # loads torch

    candidate = find(registry, trial.candidate)
    incumbent = None if trial.against_policy else find(registry, trial.incumbent)
    with closing(open_log(url, mode="read")) as log:
        name = log.name
    return held_out_errors(candidate, incumbent, url=url, name=name)


@dataclass(slots=True)
class _Judging:
    trial: Trial
    design: Design
    url: str
    budget: int
    run: Run
    held_out: HeldOut
    looks: list[Look] = field(default_factory=list)
    played: dict[str, Episode] = field(default_factory=dict)
    """By session; what is over stays as it is."""

    def look(self, pairs: int) -> Look:
        self._play(pairs)
        found, ends = self._pairs(pairs)
        seed = derive(0, "bootstrap", self.trial.candidate, self.trial.incumbent, pairs)
        judgement = judge(found, self.design, look=pairs, budget=self.budget, held_out=self.held_out, seed=seed)
        look = Look(pairs, judgement, self._entered(pairs, len(found), judgement, ends), ends)
        self.looks.append(look)
        return look

    def _play(self, pairs: int) -> None:
        """Runs what is not over yet of the first so many pairs. Raises `Unavailable` where some do not come to be."""
        self._read(pairs)
        left = [
            (pair, arm) for pair in range(pairs) for arm in ARMS if self.trial.session(pair, arm) not in self.played
        ]
        if not left:
            return
        with closing(open_log(self.url, mode="read")) as log:
            seeds = seeds_of(self.trial, range(pairs), log)
        orders = [self.trial.order(pair, arm, seed=seeds[pair], budget=self.budget) for pair, arm in left]
        ran = self.run(orders)
        self._read(pairs)
        missing = [order.session for order in orders if order.session not in self.played]
        if missing:
            why = ran.errors[0] if ran.errors else f"{missing[0]} is not closed"
            raise Unavailable(
                f"{len(missing)} of {2 * pairs} sessions of the evaluation are not over, such as {why}. What ran is on "
                "the log; the same call goes on with what is missing"
            )

    def _read(self, pairs: int) -> None:
        with closing(open_log(self.url, mode="read")) as log:
            for name in (self.trial.session(pair, arm) for pair in range(pairs) for arm in ARMS):
                if name not in self.played:
                    found = first_episode(log, stream_of(name), budget=self.budget)
                    if found is not None:
                        self.played[name] = found

    def _pairs(self, pairs: int) -> tuple[list[Pair], tuple[EventId, ...]]:
        """Those in which both episodes have an outcome. Raises `Unavailable` where too few have."""
        both = [[self.played[self.trial.session(pair, arm)] for arm in ARMS] for pair in range(pairs)]
        found = [
            Pair(ours.outcome, theirs.outcome)
            for ours, theirs in both
            if ours.outcome is not None and theirs.outcome is not None
        ]
        failed = [episode for two in both for episode in two if episode.outcome is None]
        if pairs - len(found) > MOST_LEFT_OUT * pairs:
            raise Unavailable(
                f"{pairs - len(found)} of {pairs} pairs have no outcome, which is too many to judge by the others: "
                f"{failed[0].end.partition('@')[0]} failed with: {failed[0].error}. Nothing was decided; see "
                "aether session show"
            )
        if not any(episode.told for two in both for episode in two):
            raise UsageError(
                f"{self.trial.file.scenario.environment.id} never says whether an episode was a success, so there is "
                "no goal that steps could be counted to. Nothing was decided"
            )
        return found, tuple(episode.end for two in both for episode in two)

    def _entered(self, look: int, pairs: int, judgement: Judgement, ends: tuple[EventId, ...]) -> EventId:
        trial = self.trial
        event = ModelEvaluated(
            model=trial.candidate,
            incumbent=trial.incumbent,
            scenario=trial.file.scenario.name,
            pairs=pairs,
            figures=dict(judgement.figures),
        )
        looks = "-".join(map(str, self.design.looks))
        run = f"{trial.candidate}.{trial.incumbent}.{trial.file.digest[:12]}.{looks}.{look}"
        with closing(open_log(self.url, mode="read")) as log:
            entered = said(log, event, run=run)
        return enter(self.url, event, refs=ends, run=run) if entered is None else entered
