"""What the log says of models, on the stream `model/NAME`, and of datasets, on `dataset/NAME`.

Knows those events; knows no model and no dataset. Invariant: each is entered once, however often it is said."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

from runtime.errors import Unavailable
from runtime.people.mailbox import Mailbox, NobodyThere
from telemetry.errors import LogHeld, LogUnwritable, WrongExpectedVersion
from telemetry.events import Draft
from telemetry.events.learn import DatasetBuilt, Entry, ModelEntry
from telemetry.events.values import EventId
from telemetry.log import EventLog, open_log

STREAM = "model/"
DATASETS = "dataset/"

MOST_REFS = 1000
"""Sessions that an event names; with more, its range of the log says where they are."""

PATIENCE_S: Final = 60.0
"""How long what must not be lost waits for a log that another process holds: commands hold one for moments."""

RETRY_S: Final = 0.25

Said = Callable[[str], None]


def enter(url: str, entry: Entry, *, refs: tuple[EventId, ...] = (), run: str) -> EventId:
    """Records `entry` in the log at `url`: by its live host where there is one, else as the writer of the log for that
    moment. `refs` are events that it rests on, `run` is the training's, the judgement's or the building's own name,
    under which an event of a type is entered once. Raises `LogHeld` when another process writes the log and does not
    answer."""
    refs = refs if len(refs) <= MOST_REFS else ()
    try:
        return Mailbox(url).enter(entry, refs=refs, run=run)
    except NobodyThere:
        with closing(open_log(url, create=False)) as log:
            return entered(log, entry, refs=refs, run=run)


def enter_kept(
    url: str, entry: Entry, *, what: str, again: str, refs: tuple[EventId, ...] = (), run: str, said: Said
) -> EventId:
    """As `enter`, of something that is kept already, and must not be lost to the log: waits for one that is held, or
    whose server is away. Raises `Unavailable` with what it raised last, that `what` is kept and how to enter it
    `again`; who is interrupted meanwhile says so."""
    try:
        return _entered_in_time(url, entry, what=what, again=again, refs=refs, run=run, said=said)
    except KeyboardInterrupt:
        said(f"{what} is kept, and the log may not say so. {again}")
        raise


def _entered_in_time(
    url: str, entry: Entry, *, what: str, again: str, refs: tuple[EventId, ...], run: str, said: Said
) -> EventId:
    deadline = time.monotonic() + PATIENCE_S
    waiting = False
    while True:
        try:
            return enter(url, entry, refs=refs, run=run)
        except (LogHeld, LogUnwritable, Unavailable) as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"{what} is kept, and the log does not say so yet: {error} {again}") from error
            if not waiting:
                why = "is held" if isinstance(error, LogHeld) else "takes no word of it now"
                said(f"{what} is kept; the log {why}, waiting for it up to {PATIENCE_S:g} s")
            waiting = True
            time.sleep(RETRY_S)


def entered(log: EventLog, entry: Entry, *, refs: tuple[EventId, ...], run: str) -> EventId:
    """As `enter`, in a log that this process writes. What others enter of the same name meanwhile comes before it."""
    stream = stream_of_entry(entry)
    draft = Draft(event=entry, command=_command(entry, run), refs=refs, mode="optimisation")
    while True:
        head = log.head(stream)
        version, epoch = (0, 1) if head is None else (head.version, head.epoch)
        with suppress(WrongExpectedVersion):  # somebody's word came first, so one of them always goes on
            (recorded,) = log.append(stream, [draft], expected_version=version, epoch=epoch)
            return recorded.id


def said(log: EventLog, entry: ModelEntry, *, run: str) -> EventId | None:
    """The event of `entry`'s type that was entered under `run`; None where there is none yet."""
    stream, command = stream_of_model(entry.model), _command(entry, run)
    if log.head(stream) is None:
        return None
    return next((one.id for one in log.read_back(stream, types=(entry.type,)) if one.command == command), None)


def _command(entry: Entry, run: str) -> str:
    return f"{entry.type.rpartition('_')[2]}.{run}"


def stream_of_entry(entry: Entry) -> str:
    """Where it stands."""
    if isinstance(entry, DatasetBuilt):
        return stream_of_dataset(entry.recipe)
    return stream_of_model(entry.model)


def stream_of_dataset(recipe: str) -> str:
    """The stream of a dataset by the name of its recipe or by its `name@digest`."""
    return DATASETS + recipe.partition("@")[0]


def stream_of_model(model: str) -> str:
    """The stream of a model by its name or its `name@digest`."""
    return STREAM + model.partition("@")[0]
