"""A model promoted or taken back by a person's word: the log says so, then the pointer of the registry follows.

Knows log and registry; judges no model. Invariant: the log is the truth where it says anything of a name. A crash after
its event leaves a pointer that lags behind, which the next of these acts brings up."""

from __future__ import annotations

import time
from contextlib import closing
from typing import NamedTuple

from runtime.errors import NotFound, Unavailable, UsageError
from runtime.models.entry import enter
from runtime.models.pointers import is_of, read_in, succession_in
from runtime.models.promotion import follow, nothing_before
from runtime.models.store import Registry, find, meant
from runtime.models.succession import Succession, succession
from telemetry.events.learn import ModelPromoted, ModelRolledBack
from telemetry.events.values import EventId, ModelId
from telemetry.log import open_log

BY_HAND = "by hand"


class Moved(NamedTuple):
    """What stands after a person's word."""

    name: str
    model: ModelId | None
    """What stands now."""
    before: ModelId | None
    """What was promoted over, or taken back."""
    event: EventId | None
    """None where the log said so already."""
    mended: bool = False
    """The pointer lagged behind the log, and does no more."""


def promote_by_hand(log: str, registry: Registry, which: str, *, why: str) -> Moved:
    """Makes the model `NAME@DIGEST` what sessions act by. Raises `UsageError` where no digest is given, what `find`
    raises, and what entering it in the log at the URL `log` and writing the pointer raises: until the log has said so,
    nothing is changed."""
    if "@" not in which or "/" in which:
        raise UsageError(f"{which!r} does not say which model; name it NAME@DIGEST, as aether model list does")
    one = find(registry, which)
    stood = _stood(log, registry, one.name, over_damage=True)
    if stood.standing == one.model and stood.canary is None:
        return Moved(one.name, one.model, stood.before, None, mended=_followed(registry, one.name, stood))
    entry = ModelPromoted(model=one.model, incumbent=stood.standing, figures={"by_hand": True}, why=why)
    event = enter(log, entry, run=_run())
    _follow(registry, one.name, stood.promoted(one.model), event)
    return Moved(one.name, one.model, stood.standing, event)


def roll_back_by_hand(log: str, registry: Registry, name: str, *, why: str) -> Moved:
    """Takes back the canary of a name, or else what stands, which what stood before replaces. One whose pointer was
    left behind is finished first, and no more is done. Raises `NotFound` where nothing stood before or that model is
    gone, and as `promote_by_hand` does."""
    if "@" in name or "/" in name:
        raise UsageError(f"{name!r} is no name of models; what stands is taken back, by its name alone: maze")
    stood = _stood(log, registry, name, over_damage=False)
    if not stood.ids:
        meant(registry, name)
    pointed = read_in(registry.place(), name)
    if stood.taken_back is not None and pointed is not None and pointed.standing == stood.taken_back:
        return Moved(name, stood.standing, stood.taken_back, None, mended=_followed(registry, name, stood))
    model, to = (stood.standing, stood.before) if stood.canary is None else (stood.canary, stood.standing)
    if model is None or to is None:
        raise NotFound(
            f"{nothing_before(name, stood)}. Nothing was changed. For another one: aether model promote {name}@DIGEST"
        )
    if is_of(to, name):
        _check_there(registry, to, model)
    entry = ModelRolledBack(model=model, to=to, why=why or BY_HAND, figures={"by_hand": True})
    event = enter(log, entry, run=_run())
    _follow(registry, name, stood.rolled_back(model, to), event)
    return Moved(name, to, model, event)


def _stood(log: str, registry: Registry, name: str, *, over_damage: bool) -> Succession:
    """As the log says; as the pointer does where the log says nothing."""
    with closing(open_log(log, mode="read")) as store:
        said = succession(store, name)
    if said.ids:
        return said
    place = registry.place()
    return read_in(place, name) or Succession() if over_damage else succession_in(place, name)


def _follow(registry: Registry, name: str, stands: Succession, event: EventId) -> None:
    try:
        follow(registry, name, stands)
    except Unavailable as error:
        raise Unavailable(
            f"{error}. The log says so already, at {event}, and sessions go by it; the same command again brings up "
            f"what {name} means in the registry"
        ) from error


def _followed(registry: Registry, name: str, stands: Succession) -> bool:
    """Whether the pointer said something else."""
    lagged = read_in(registry.place(), name) != Succession(stands.ids)
    follow(registry, name, stands)
    return lagged


def _check_there(registry: Registry, to: ModelId, model: ModelId) -> None:
    try:
        meant(registry, to)
    except NotFound as error:
        raise NotFound(
            f"{to} stood before {model}, and is gone: {error}. {model} stands. Put {to} back, or promote another one: "
            f"aether model promote {to.partition('@')[0]}@DIGEST"
        ) from error


def _run() -> str:
    """A name of its own: each word of a person is entered."""
    return f"hand.{time.time_ns()}"
