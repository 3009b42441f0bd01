"""A model promoted or taken back by a person's word: the log says so, then the pointer of the registry follows.

Knows log and registry; judges no model. Invariant: the log is the truth where it says anything of a name. A crash after
its event leaves a pointer that lags behind, which the next of these acts brings up."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from itertools import islice
from typing import NamedTuple

from runtime.entry import enter
from runtime.errors import NotFound, Unavailable, UsageError
from runtime.lineage.records import begun
from runtime.models.registry.pointers import is_of, read_in, succession_in
from runtime.models.registry.promotion import follow
from runtime.models.registry.store import Registry, find, meant
from runtime.models.registry.succession import Succession, succession
from runtime.models.standing import base_id, followed
from runtime.scenario import parse_scenario
from telemetry.events.learn import ModelPromoted, ModelRolledBack
from telemetry.events.values import Digest, EventId, ModelId
from telemetry.log import EventLog, open_log

BY_HAND = "by hand"
MOST_LOOKED = 1000
"""Sessions, at two look-ups each."""


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


def promote_by_hand(url: str, registry: Registry, which: str, *, why: str) -> Moved:
    """Makes the model `NAME@DIGEST` what sessions act by. Raises `UsageError` where no digest is given, what `find`
    raises, and what entering it in the log at `url` and writing the pointer raises: until the log has said so, nothing
    is changed."""
    if "@" not in which or "/" in which:
        raise UsageError(f"{which!r} does not say which model; name it NAME@DIGEST, as aether model list does")
    one = find(registry, which)
    with closing(open_log(url, mode="read")) as log:
        stood = succession(log, one.name)
        if not stood.ids:
            stood = read_in(registry.place(), one.name) or Succession()
        elif stood.standing == one.model and stood.canary is None:
            return Moved(one.name, one.model, stood.before, None, mended=follow(registry, one.name, log))
        before = stood.standing or own_policy(log, one.name)
        entry = ModelPromoted(model=one.model, incumbent=before, figures={"by_hand": True}, why=why)
        event = _said(url, log, registry, entry)
    return Moved(one.name, one.model, before, event)


def roll_back_by_hand(url: str, registry: Registry, name: str, *, why: str) -> Moved:
    """Takes back the canary of a name, or else what stands, which what stood before replaces. One whose pointer was
    left behind is finished first, and no more is done. Raises `NotFound` where nothing stood before or that model is
    gone, and as `promote_by_hand` does."""
    if "@" in name or "/" in name:
        raise UsageError(f"{name!r} is no name of models; what stands is taken back, by its name alone: maze")
    with closing(open_log(url, mode="read")) as log:
        pointed = read_in(registry.place(), name)
        stood = succession(log, name)
        if not stood.ids:
            stood = succession_in(registry.place(), name)
        elif stood.taken_back is not None and pointed is not None and pointed.standing == stood.taken_back:
            return Moved(name, stood.standing, stood.taken_back, None, mended=follow(registry, name, log))
        model, to = (stood.standing, stood.before) if stood.canary is None else (stood.canary, stood.standing)
        if to is None and model is not None and is_of(model, name):
            to = own_policy(log, name)
        if model is None or to is None:
            raise _nothing_before(registry, name, stood)
        if is_of(to, name):
            _check_there(registry, to, model)
        entry = ModelRolledBack(model=model, to=to, why=why or BY_HAND, figures={"by_hand": True})
        event = _said(url, log, registry, entry)
    return Moved(name, to, model, event)


def own_policy(log: EventLog, name: str) -> ModelId | None:
    """What stood before any model did: what the scenario of sessions that follow `name` does by itself, of the one that
    went on last. None where no such session is among those that are looked at."""
    looked: set[Digest] = set()
    for session in sorted(islice(begun(log), MOST_LOOKED), key=lambda session: session.last, reverse=True):
        if session.opened.scenario_digest not in looked:
            looked.add(session.opened.scenario_digest)
            with suppress(UsageError):  # of a version that says things otherwise
                file = parse_scenario(session.opened.scenario_text, source=session.stream)
                if followed(file.scenario) == name:
                    return base_id(file)
    return None


def _said(url: str, log: EventLog, registry: Registry, entry: ModelPromoted | ModelRolledBack) -> EventId:
    """Enters it, by a name of its own as each word of a person counts, and brings up the pointer."""
    name = entry.model.partition("@")[0]
    event = enter(url, entry, run=f"hand.{time.time_ns()}")
    try:
        follow(registry, name, log)
    except Unavailable as error:
        raise Unavailable(
            f"{error}. The log says so already, at {event}, and sessions go by it; the same command again brings up "
            f"what {name} means in the registry"
        ) from error
    return event


def _nothing_before(registry: Registry, name: str, stood: Succession) -> NotFound:
    if stood.standing is None:
        meant(registry, name)
        said = f"no model {name!r} was ever promoted, so there is nothing to roll back to"
    else:
        said = f"{stood.standing} stands, and nothing stood before it"
    return NotFound(f"{said}. Nothing was changed. For another one: aether model promote {name}@DIGEST")


def _check_there(registry: Registry, to: ModelId, model: ModelId) -> None:
    try:
        meant(registry, to)
    except NotFound as error:
        raise NotFound(
            f"{to} stood before {model}, and is gone: {error}. {model} stands. Put {to} back, or promote another one: "
            f"aether model promote {to.partition('@')[0]}@DIGEST"
        ) from error
