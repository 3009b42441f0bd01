"""Which trained model a session acts by, and where that is read from.

Knows where models lie and what the log says a session acts by; what is in a folder, `world_model.checkpoint` knows.
Invariant: what is read by an id is the model of that id, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from loops.scene import PINNED as PINNED
from runtime.errors import NotFound, Unavailable, VerificationFailed
from runtime.models.registry.pointers import ID
from runtime.models.registry.store import Registry, find, folder_at, folder_of
from runtime.sessions import opened
from telemetry.events import learn
from telemetry.events.values import ModelId
from telemetry.log import EventLog
from world_model.errors import CheckpointError, NoCheckpoint

if TYPE_CHECKING:  # it loads torch
    from world_model.checkpoint import Artifact

ABSENT = (NotFound, Unavailable, VerificationFailed)
"""What reading a model raises where it is not there, not whole, or another."""


class Chosen(BaseModel):
    """A model's folder, and what must lie in it; `model` is None where a folder itself was named."""

    model_config = ConfigDict(frozen=True)

    folder: str
    model: ModelId | None


def choose(which: str, *, registry: Registry | None, base: str | None = None) -> Chosen:
    """The model that `which` names: of those in the registry, by its id or name, or, with a slash in it, a folder,
    relative to `base`. Raises what `folder_of` raises."""
    if "/" in which:
        return Chosen(folder=str(folder_at(which, base=base)), model=None)
    if registry is None:
        raise NotFound(f"no place is named where the model {which!r} could lie; give its folder, with a slash in it")
    if ID.fullmatch(which):
        return Chosen(folder=str(folder_of(registry, which)), model=which)
    found = find(registry, which)
    return Chosen(folder=str(found.folder), model=found.model)


def read(chosen: Chosen) -> Artifact:
    """Loads it, and torch. Raises `NotFound`, `VerificationFailed` when it was altered, and `Unavailable` when another
    model lies there: nothing that closes a session, which can go on once its model is back."""
    from world_model.checkpoint import load

    try:
        artifact = load(Path(chosen.folder))
    except NoCheckpoint as error:
        raise NotFound(str(error)) from error
    except CheckpointError as error:
        raise VerificationFailed(str(error)) from error
    if chosen.model is not None and artifact.model_id != chosen.model:
        raise Unavailable(
            f"{chosen.folder} holds the model {artifact.model_id}, where {chosen.model} is looked for. "
            "Put that model back, or train it again"
        )
    return artifact


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the models that sessions of one scenario may act by, each by its id or by its name, from the registry.
    `named` is what the scenario says itself; where that is a folder, relative to `base`, ids are looked for there
    first."""

    registry: Registry | None = None
    base: str | None = None
    named: str | None = None

    def __call__(self, which: str) -> Artifact:
        """Raises what `choose` and `read` raise."""
        if self.named is None or "/" not in self.named or "/" in which:
            return read(choose(which, registry=self.registry, base=self.base))
        try:
            found = read(choose(self.named, registry=None, base=self.base))
            if found.model_id == which:
                return found
            raise Unavailable(f"the scenario leads to {found.model_id} now")
        except ABSENT:
            if self.registry is None:
                raise
            try:
                return read(choose(which, registry=self.registry))
            except NotFound:
                pass  # the folder is where it should be
            raise


def pinned_by(log: EventLog, stream: str) -> ModelId | None:
    """The trained model that the session acts by, as its log says; None for one that needs none, or is not on the log
    yet."""
    if log.head(stream) is None:
        return None
    latest = next(iter(log.read_back(stream, types=("learn.model_adopted",))), None)
    if latest is not None and isinstance(latest.event, learn.ModelAdopted):
        return latest.event.model
    return opened(log, stream).versions.get(PINNED)
