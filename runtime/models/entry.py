"""The word on the log that a model was trained, on the stream `model/NAME`.

Knows one event; knows no model. Invariant: a training is entered once, however often it is said."""

from __future__ import annotations

from contextlib import closing

from runtime.people.mailbox import Mailbox, NobodyThere
from telemetry.events import Draft
from telemetry.events.learn import ModelTrained
from telemetry.events.values import EventId
from telemetry.log import EventLog, open_log

STREAM = "model/"

MOST_REFS = 1000
"""Sessions that an event names; with more, its range of the log says where they are."""


def enter(url: str, trained: ModelTrained, *, refs: tuple[EventId, ...], run: str) -> EventId:
    """Records a training in the log at `url`: by its live host where there is one, else as the writer of the log for
    that moment. `refs` are events of the sessions it learnt from, `run` is the training's own name. Raises `LogHeld`
    when another process writes the log and does not answer."""
    refs = refs if len(refs) <= MOST_REFS else ()
    try:
        return Mailbox(url).enter(trained, refs=refs, run=run)
    except NobodyThere:
        with closing(open_log(url, create=False)) as log:
            return entered(log, trained, refs=refs, run=run)


def entered(log: EventLog, trained: ModelTrained, *, refs: tuple[EventId, ...], run: str) -> EventId:
    """As `enter`, in a log that this process writes."""
    stream = STREAM + trained.model.partition("@")[0]
    head = log.head(stream)
    version, epoch = (0, 1) if head is None else (head.version, head.epoch)
    draft = Draft(event=trained, command=f"train.{run}", refs=refs, mode="optimisation")
    (recorded,) = log.append(stream, [draft], expected_version=version, epoch=epoch)
    return recorded.id
