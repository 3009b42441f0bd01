"""What sessions act by: the policy of their scenario, or the model that was promoted last.

Knows names and the words on the log about models; reads no weights. Invariant: what stands follows from the log alone
where it says anything of a name, and is the same for a session whoever asks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from runtime.entry import STREAM, stream_of_model
from runtime.models.registry.pointers import is_of
from runtime.models.registry.succession import WORDS, Succession
from runtime.scenario import Scenario, ScenarioFile
from telemetry.events import Recorded, learn
from telemetry.events.values import EventId, ModelId
from telemetry.log import EventLog

HASHES = 2**256
NOTHING = Succession()


def base_id(file: ScenarioFile) -> ModelId:
    """The policy that the scenario itself describes, as a model's id: its reasoner and its digest."""
    return f"{file.scenario.reasoner.kind}@{file.digest[:12]}"


def followed(scenario: Scenario) -> str | None:
    """The name of the models that sessions of this scenario go by as they are promoted and rolled back; None where they
    go by one model, or by none."""
    named = scenario.world_model.model
    if named is not None:
        return None if "/" in named or "@" in named else named
    return None if scenario.learning is None else scenario.learning.model or scenario.name


class Choice(NamedTuple):
    """What one session is to act by, None for what its scenario says; which event says so, and in what words."""

    model: ModelId | None
    by: EventId
    why: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the log says of one name. `by` is the event that says what `model` is, `canary_by` the one that sent the
    canary to its share of the sessions."""

    model: ModelId | None = None
    canary: ModelId | None = None
    share: float = 0.0
    by: EventId = ""
    why: str = ""
    canary_by: EventId = ""
    succession: Succession = NOTHING

    @property
    def said(self) -> bool:
        """Whether the log says anything of the name."""
        return bool(self.by or self.canary_by)

    def of(self, stream: str) -> ModelId | None:
        """What the session acts by; None: what its scenario says."""
        return self.choice(stream).model

    def choice(self, stream: str) -> Choice:
        if self.canary is not None and drawn(stream, self.canary) < self.share:
            return Choice(self.canary, self.canary_by, f"promoted to {self.share:g} of the sessions")
        return Choice(self.model, self.by, self.why)

    def after(self, recorded: Recorded) -> Standing:
        """What stands after one of WORDS."""
        before, now = self.succession, self.succession.after(recorded.event)
        by, why = self.by, self.why
        canary_by = self.canary_by if now.canary is not None else ""
        match recorded.event:
            case learn.ModelPromoted(share=share) if share < 1:
                canary_by = recorded.id
            case learn.ModelPromoted():
                by, why = recorded.id, "promoted"
            case learn.ModelRolledBack(model=taken, why=reason):
                by, why = recorded.id, f"{taken} was rolled back: {reason}"
        if by == self.by and now.standing != before.standing:
            by, why = recorded.id, f"what {now.canary} is a canary beside"
        name = recorded.stream.removeprefix(STREAM)
        model = now.standing if now.standing is not None and is_of(now.standing, name) else None
        return Standing(model, now.canary, now.share, by, why, canary_by, now)


def drawn(stream: str, canary: ModelId) -> float:
    """Where the session stands among all in the draw for this canary, in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"{stream} {canary}".encode()).digest()) / HASHES


def standing(log: EventLog, name: str) -> Standing:
    """What stands of `name` as of now."""
    return _folded(Standing(), log.read(stream_of_model(name), types=WORDS))


def incumbent(log: EventLog, name: str, file: ScenarioFile) -> ModelId:
    """What a candidate of that name has to be better than in this scenario: the model that stands, or else the policy
    that the scenario itself describes."""
    return standing(log, name).model or base_id(file)


def _folded(before: Standing, events: Iterable[Recorded]) -> Standing:
    for recorded in events:
        before = before.after(recorded)
    return before


class Standings:
    """What stands of the names that sessions of one process follow, kept in memory: whoever runs sessions asks at each
    cycle. `look` takes up what the log says since."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._standing: dict[str, Standing] = {}
        self._versions: dict[str, int] = {}
        self._looking = Lock()

    def of(self, name: str) -> Standing:
        """The same object until something changed. Reads the log where the name is new."""
        found = self._standing.get(name)
        if found is not None:
            return found
        with self._looking:
            return self._look(name)

    def look(self) -> None:
        """Takes up what was said of these names since they were last looked at. May be called from any thread."""
        with self._looking:
            for name in list(self._standing):
                self._look(name)

    def _look(self, name: str) -> Standing:
        stream, before = stream_of_model(name), self._standing.get(name)
        head, version = self._log.head(stream), self._versions.get(name, 0)
        if before is None or (head is not None and head.version > version):
            to = 0 if head is None else head.version
            new = list(self._log.read(stream, after=version, to=to, types=WORDS)) if to else []
            self._versions[name] = to
            if before is None or new:
                before = _folded(before or Standing(), new)
            self._standing[name] = before
        return before
