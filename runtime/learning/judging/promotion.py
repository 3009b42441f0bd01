"""What follows from a judgement: the candidate is promoted or rejected, on the log first.

Knows judgements and events; measures nothing. Invariant: a judgement is entered once however often it is settled, and
the registry's pointer never says what the log does not."""

from __future__ import annotations

from contextlib import closing

from pydantic import JsonValue

from runtime.entry import enter, stream_of_model
from runtime.learning.judging.evaluate import Evaluation
from runtime.learning.judging.trial import Trial
from runtime.models.registry.promotion import follow
from runtime.models.registry.store import Registry
from runtime.models.registry.succession import WORDS
from telemetry.events import Recorded
from telemetry.events.learn import ModelPromoted, ModelRejected
from telemetry.events.values import EventId
from telemetry.log import EventLog, open_log


def settle(trial: Trial, evaluation: Evaluation, *, url: str, registry: Registry, share: float = 1.0) -> EventId | None:
    """Enters what the evaluation decided, and moves the registry's pointer where the candidate goes to all sessions at
    once. A `share` below 1 sends it to those first, as a canary. None where nothing is decided yet.

    Raises `LogHeld` as `enter` does, and `Unavailable` where the pointer cannot be written: the log has said it then,
    and settling again mends the pointer."""
    judgement = evaluation.judgement
    if judgement.decision == "go_on":
        return None
    entry: ModelPromoted | ModelRejected
    figures: dict[str, JsonValue] = {**judgement.figures}
    if judgement.decision == "promote":
        entry = ModelPromoted(
            model=trial.candidate, incumbent=trial.incumbent, figures=figures, share=share, why=judgement.why
        )
    else:
        entry = ModelRejected(model=trial.candidate, incumbent=trial.incumbent, figures=figures, why=judgement.why)
    with closing(open_log(url, mode="read")) as log:
        last = _last_word(log, entry.model)
    if last is not None and _same(last, entry):
        event = last.id
    else:  # the same words may be said again after others: each time after another event
        event = enter(url, entry, refs=evaluation.refs, run=f"{entry.model}.{entry.incumbent}.{last and last.version}")
    if judgement.decision == "promote" and share == 1:
        name = entry.model.partition("@")[0]
        with closing(open_log(url, mode="read")) as log:
            follow(registry, name, log)
    return event


def _last_word(log: EventLog, model: str) -> Recorded | None:
    stream = stream_of_model(model)
    return None if log.head(stream) is None else next(log.read_back(stream, types=WORDS), None)


def _same(last: Recorded, entry: ModelPromoted | ModelRejected) -> bool:
    match last.event, entry:
        case ModelPromoted() as said, ModelPromoted():
            return (said.model, said.incumbent, said.share) == (entry.model, entry.incumbent, entry.share)
        case ModelRejected() as said, ModelRejected():
            return (said.model, said.incumbent) == (entry.model, entry.incumbent)
    return False
