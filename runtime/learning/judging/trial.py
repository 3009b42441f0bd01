"""A candidate against an incumbent in one scenario, and the sessions that this asks for.

Knows names, seeds and orders; runs nothing. Invariant: the sessions of a trial follow from who is judged against whom
in what scenario, so the same trial finds its sessions on the log and goes on where it was cut off."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from loops.environments import longest_episode
from loops.scene import PINNED
from runtime.errors import UsageError, VerificationFailed
from runtime.hosting.orders import SessionOrder
from runtime.learning.judging.seeds import pair_seeds
from runtime.models.standing import base_id
from runtime.scenario import LearningSettings, ScenarioFile
from runtime.sessions import stream_of
from telemetry.events import session
from telemetry.events.values import ModelId
from telemetry.log import EventLog

Arm = Literal["candidate", "incumbent"]
ARMS: tuple[Arm, Arm] = ("candidate", "incumbent")


@dataclass(frozen=True, slots=True)
class Trial:
    """`incumbent` is a model, or `base_id` of the scenario for the policy that it describes itself. Raises `UsageError`
    where nothing could be compared."""

    file: ScenarioFile
    candidate: ModelId
    incumbent: ModelId
    source: str = "scenario"
    """Where the scenario was read from."""

    def __post_init__(self) -> None:
        if self.candidate == self.incumbent:
            raise UsageError(f"{self.candidate} is what stands already: there is nothing to compare it with")
        if self.file.scenario.environment.is_conversation:
            raise UsageError(f"{self.source} is a conversation, which has no goal that steps are counted to")

    @property
    def against_policy(self) -> bool:
        """Whether the incumbent is no model."""
        return self.incumbent == base_id(self.file)

    @property
    def settings(self) -> LearningSettings:
        return self.file.scenario.learning or LearningSettings()

    def budget(self) -> int:
        """Decisions after which an episode counts as failed. Raises `UsageError` where neither the scenario nor the
        environment ends one, and what finding the environment raises."""
        found = self.settings.budget or longest_episode(self.file.scenario.environment)
        if found is None:
            raise UsageError(
                f"{self.source} does not say when an episode has failed: nothing ends one. Give it max_frames under "
                "[environment], or a budget under [learning]. Nothing was run"
            )
        return found

    def acts(self, arm: Arm) -> ModelId:
        return self.candidate if arm == "candidate" else self.incumbent

    def session(self, pair: int, arm: Arm) -> str:
        """The session's id, the same each time."""
        place = (self.file.digest, self.candidate, self.incumbent, str(pair), arm)
        return hashlib.sha256("\x1f".join(("aetherloop/evaluation", *place)).encode()).hexdigest()[:12]

    def order(self, pair: int, arm: Arm, *, seed: int, budget: int) -> SessionOrder:
        return SessionOrder(
            session=self.session(pair, arm),
            scenario_text=self.file.text,
            source=self.source,
            seed=seed,
            cycles=budget,
            model=self.acts(arm),
            purpose="evaluation",
        )


def seeds_of(trial: Trial, pairs: Iterable[int], log: EventLog) -> dict[int, int]:
    """What each pair begins with: what it began with where it is on the log, else a seed that no session of it has
    that can be learnt from.

    Raises `PayloadWithheld` where what it began with is withheld, `VerificationFailed` where a session of the trial is
    on the log that was opened as another."""
    asked = list(pairs)
    ours = {stream_of(trial.session(pair, arm)): (pair, arm) for pair in asked for arm in ARMS}
    begun: dict[int, int] = {}
    taken: set[int] = set()
    for stream, opened in _openings(log, ours):
        if stream not in ours:
            taken.add(opened.seed)
            continue
        pair, arm = ours[stream]
        _check(trial, stream, opened, arm)
        if begun.setdefault(pair, opened.seed) != opened.seed:
            raise VerificationFailed(f"the two sessions of pair {pair} of {trial.candidate} began with different seeds")
    fresh = [pair for pair in asked if pair not in begun]
    taken |= set(begun.values())
    drawn = pair_seeds(trial.file.scenario.seed, trial.candidate, trial.incumbent, fresh, taken=taken)
    return begun | drawn


def _openings(log: EventLog, ours: Collection[str]) -> Iterator[tuple[str, session.Opened]]:
    for recorded in log.read_all(types=("session.opened",)):
        if recorded.withheld and recorded.stream not in ours:
            continue  # nobody learns from it
        if isinstance(recorded.event, session.Opened):
            yield recorded.stream, recorded.event


def _check(trial: Trial, stream: str, opened: session.Opened, arm: Arm) -> None:
    """A session that acted by something else would be counted for the wrong side."""
    acts = opened.versions.get(PINNED)
    wanted = trial.acts(arm)
    if opened.purpose != "evaluation" or (acts != wanted and not (arm == "incumbent" and trial.against_policy)):
        raise VerificationFailed(
            f"{stream} was to be an evaluation of {wanted} and was opened "
            f"{'as one' if opened.purpose else 'as none'} that acts by {acts or 'what its scenario says'}. Nothing of "
            "it is counted, and nothing was entered"
        )
