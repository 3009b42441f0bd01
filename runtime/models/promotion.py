"""Which model a registry's name means, moved after the log has said so.

Knows pointers and the order of promotions; judges nothing and enters nothing. Invariant: of two who promote at once on
one machine both are in the order; what cannot be written leaves what stood."""

from __future__ import annotations

from runtime.errors import NotFound
from runtime.models.pointers import is_of, read_in, succession_in, write_in
from runtime.models.store import Registry, meant, writing
from runtime.models.succession import Succession
from telemetry.events.values import ModelId


def promote(registry: Registry, model: ModelId, *, incumbent: ModelId | None = None) -> None:
    """Makes the model what its name alone means. `incumbent` is what stood, which a rollback goes back to: a model, or
    what a scenario does by itself. Belongs after the log's word, as the log is what sessions go by. Raises `NotFound`
    where there is no such model, `Unavailable` where it cannot be written; what stood stands then."""
    name = model.partition("@")[0]
    meant(registry, model)
    place = registry.place()
    with writing(f"{model} cannot be promoted in {place.shown}"), place.locked(name):
        stood = read_in(place, name) or Succession()
        write_in(place, name, stood.promoted(model, incumbent=incumbent))


def roll_back(registry: Registry, name: str, *, to: ModelId | None = None) -> tuple[ModelId, ModelId]:
    """What stood is what its name means again: what stood before, or `to`. Returns what was taken back and what stands.
    Raises `NotFound` where nothing stood before, or that model is gone, and as `promote` does."""
    place = registry.place()
    with writing(f"{name} cannot be rolled back in {place.shown}"), place.locked(name):
        stood = succession_in(place, name)
        back = stood.before if to is None else to
        if stood.standing is None or back is None:
            raise NotFound(f"{nothing_before(name, stood)}. Nothing was changed")
        if is_of(back, name):
            meant(registry, back)
        write_in(place, name, stood.rolled_back(stood.standing, back))
    return stood.standing, back


def promoted(registry: Registry, name: str) -> ModelId | None:
    """What was promoted last, a model or what a scenario does by itself; None where nothing ever was. Raises
    `VerificationFailed` where it cannot be read."""
    return succession_in(registry.place(), name).standing


def follow(registry: Registry, name: str, said: Succession) -> None:
    """Makes the pointer say what the log said of `name`, where it does not yet. Raises as `promote` does."""
    place = registry.place()
    with writing(f"what stands of {name} cannot be written in {place.shown}"), place.locked(name):
        stood = read_in(place, name)
        if stood is None or stood.ids != said.ids:
            write_in(place, name, said)


def nothing_before(name: str, stood: Succession) -> str:
    """Why there is nothing to roll back to, in words."""
    if stood.standing is None:
        return f"no model {name!r} was ever promoted, so there is nothing to roll back to"
    return f"{stood.standing} stands, and nothing stood before it"
