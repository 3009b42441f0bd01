"""How well a candidate foresees beside the incumbent: both on the sessions that the candidate's training held out.

Knows where models and their sessions are read; the error itself, `world_model.held_out` knows. Loads torch. Invariant:
both errors are of the same sequences, and neither model's weights were chosen by them, as what is held out of a log is
held out of every training of it."""

from __future__ import annotations

from runtime.errors import UsageError
from runtime.learning.judging.verdict import HeldOut
from runtime.models.learnt import Learnt, read_learnt
from runtime.models.reading import lived, opened_model
from runtime.models.registry.store import Kept
from runtime.models.training.train import split
from world_model.held_out import error_over_copy


def held_out_errors(candidate: Kept, incumbent: Kept | None, *, url: str, name: str) -> HeldOut:
    """`incumbent` is None where it is no model: then the candidate's error is the one that its training recorded. `url`
    opens the log that it is judged on, `name` is what people may see of that.

    Raises what reading them raises: `VerificationFailed` where models or sessions are not what they were, `UsageError`
    where the two see different things."""
    learnt = read_learnt(candidate.folder)
    if incumbent is None:
        return HeldOut(learnt.metrics["error_over_copy"], None)
    ours, theirs = opened_model(candidate).model, opened_model(incumbent).model
    if ours.layout != theirs.layout:
        raise UsageError(
            f"{candidate.model} sees {ours.layout.describe()}, and {incumbent.model} {theirs.layout.describe()}: one "
            "cannot take the other's place. Nothing was run; name another with --against"
        )
    _, held_out = split(lived(learnt, _log(learnt, url, name)))
    return HeldOut(error_over_copy(ours, held_out), error_over_copy(theirs, held_out))


def _log(learnt: Learnt, url: str, name: str) -> str | None:
    """Where it was learnt, with the password that this log is opened by where it is the same."""
    return url if learnt.log == name else None
