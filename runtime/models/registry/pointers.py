"""What beside the models of a name says which is the latest, and which was promoted.

Knows two small files; knows no model. Invariant: each says what it said before, or what it says now."""

from __future__ import annotations

import re
from typing import Final

from runtime.errors import VerificationFailed
from runtime.models.registry.place import DIGEST, NAME, Place
from runtime.models.registry.succession import Succession
from telemetry.events.values import ModelId

LATEST: Final = "latest"
"""The digest that was trained last."""
PROMOTED: Final = "promoted"
"""What stood, newest first, an id a line."""

ID: Final = re.compile(f"({NAME.pattern})@({DIGEST.pattern})")


def is_of(model: ModelId, name: str) -> bool:
    """Whether the id is of a trained model `name`, not of what a scenario does by itself."""
    return model.partition("@")[0] == name


def latest_in(place: Place, name: str) -> str | None:
    said = place.said(name, LATEST)
    return None if said is None else said.strip()


def read_in(place: Place, name: str) -> Succession | None:
    """What a name's pointer says; None where it says nothing that can be read."""
    ids = tuple((place.said(name, PROMOTED) or "").splitlines())
    return Succession(ids) if ids and all(map(ID.fullmatch, ids)) else None


def succession_in(place: Place, name: str) -> Succession:
    """As `read_in`; empty where there is no pointer. Raises `VerificationFailed` where one says nothing."""
    found = read_in(place, name)
    if found is None and place.said(name, PROMOTED) is not None:
        raise VerificationFailed(
            f"{place.shown}/{name}/{PROMOTED} does not say which {name} is promoted. The models are intact. "
            f"Promote one again: aether model promote {name}@DIGEST, as aether model list names them"
        )
    return found or Succession()


def write_in(place: Place, name: str, stands: Succession) -> None:
    place.say(name, PROMOTED, "".join(f"{model}\n" for model in stands.ids))


def standing_in(place: Place, name: str) -> ModelId | None:
    """What stands, as far as it can be read."""
    return (read_in(place, name) or Succession()).standing
