"""Which trained model a session goes on with.

Knows where models lie and what a session was begun with; what is in a folder, `world_model.checkpoint` knows.
Invariant: a session that began with a model goes on with exactly that one, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from loops.models import Models
from runtime.errors import NotFound, Unavailable, VerificationFailed
from runtime.models.store import MODELS, Registry, find, folder_at
from runtime.sessions import opened, resting
from telemetry.events.values import ModelId
from telemetry.log import EventLog
from world_model.errors import CheckpointError, NoCheckpoint

if TYPE_CHECKING:  # it loads torch
    from world_model.checkpoint import Artifact

PINNED = "world_model"
"""What `session.opened` calls the model among the versions that it pins."""


class Chosen(BaseModel):
    """A model's folder, and what must lie in it; `model` is None where a folder itself was named."""

    model_config = ConfigDict(frozen=True)

    folder: str
    model: ModelId | None


def choose(which: str, *, home: str | None, base: str | None = None, pinned: ModelId | None = None) -> Chosen:
    """The model that `which` names: of those under `home`, or, with a slash in it, a folder, relative to `base`. A
    session that began with the model `pinned` gets that one, whatever its name means now. Raises `NotFound`."""
    if "/" in which:
        return Chosen(folder=str(folder_at(which, base=base)), model=None)
    if home is None:
        raise NotFound(f"no place is named where the model {which!r} could lie; give its folder, with a slash in it")
    found = find(Registry(folder=Path(home) / MODELS), pinned or which)
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
            "Nothing was written; put that model back, or train it again"
        )
    return artifact


def pinned_by(log: EventLog, stream: str) -> ModelId | None:
    """The model that the session began with; None for one that needs none, or is not on the log yet."""
    return None if log.head(stream) is None else opened(log, stream).versions.get(PINNED)


def check_same(log: EventLog, stream: str, models: Models) -> None:
    """Raises `Unavailable` unless `models` go by the trained model that the session began with, where it did."""
    began = pinned_by(log, stream)
    if began is None:
        return
    try:
        now = models.pinned
    except (NotFound, VerificationFailed, Unavailable) as error:
        raise Unavailable(f"{str(error).rstrip('.')}. {resting(stream, f'{began} is there again')}") from error
    if now != began:
        raise Unavailable(
            f"the session began with the model {began}, and its scenario now leads to {now}. "
            f"{resting(stream, f'{began} is there again')}"
        )
