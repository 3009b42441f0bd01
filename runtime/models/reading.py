"""A kept model, opened again: its weights, and with the log at hand what it was judged by.

Knows where things lie; draws and trains nothing. Loads torch. Invariant: what is opened is what its name says."""

from __future__ import annotations

from contextlib import closing

from loops.lessons import Source, read_lessons
from runtime.errors import Refused, RuntimeFailure, VerificationFailed
from runtime.models.learnt import Learnt
from runtime.models.pictures import Subject
from runtime.models.registry.store import Kept
from runtime.models.training.train import split
from runtime.models.training.withheld import allowed
from runtime.sessions import opened, stream_of
from runtime.settings import log_url, read_settings
from telemetry.errors import LogError
from telemetry.log import is_postgres, open_log
from world_model.checkpoint import Artifact, load
from world_model.experience import Experience
from world_model.frozen import FrozenLinear, learn_linear
from world_model.plan.landmarks import Landmarks


def opened_model(one: Kept) -> Artifact:
    """Raises what `checkpoint.load` raises, and `VerificationFailed` where a whole model lies under another's name."""
    artifact = load(one.folder)
    digest = artifact.model_id.rpartition("@")[2]
    if digest != one.digest:
        raise VerificationFailed(
            f"the model in {one.folder} is {artifact.model_id}, which is not what its folder is called. Nothing of it "
            f"is used. Rename the folder to {digest}, or restore what was there"
        )
    return artifact


def subject(
    one: Kept, artifact: Artifact, learnt: Learnt, landmarks: Landmarks, *, log: str | None
) -> tuple[Subject, str | None]:
    """What there is to draw of a model, and why not all of it, if so. Without `log` it is the one that it was learnt
    from."""
    plain = Subject(one.model, artifact.model, landmarks)
    try:
        experience = lived(learnt, log)
    except (LogError, RuntimeFailure) as error:
        return plain, str(error)
    rest, held_out = split(experience)
    linear = artifact.model if isinstance(artifact.model, FrozenLinear) else learn_linear(rest)
    return plain._replace(held_out=held_out, linear=linear), None


def lived(learnt: Learnt, log: str | None) -> Experience:
    """What the model was learnt from, read again. Raises `VerificationFailed` where the log now tells otherwise, and
    `Refused` where some of it must not be read for this any more."""
    wanted = log if log is not None or is_postgres(learnt.log) else learnt.log
    with closing(open_log(log_url(read_settings({"log": wanted}).settings), mode="read")) as store:
        streams = [stream_of(session) for session in learnt.sessions]
        sources, excluded = allowed(store, [Source(stream, opened(store, stream)) for stream in streams])
        if excluded:
            raise Refused(
                f"{learnt.model} was learnt from {sum(excluded.values())} sessions that are withheld from learning by "
                f"now: {', '.join(excluded)}. They are not read again; train anew without them"
            )
        lessons = read_lessons(store, sources, to=learnt.to_position)
        if lessons.digest != learnt.data:
            raise VerificationFailed(
                f"{store.name} gives other data than {learnt.model} was learnt from: {lessons.digest[:12]}… instead of "
                f"{learnt.data[:12]}…. Name the log that it was learnt from with --log"
            )
    return lessons.experience
