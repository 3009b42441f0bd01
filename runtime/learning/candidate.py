"""What is trained next in a course, and what of it needs no judgement by sessions.

Knows settings and words; trains and judges nothing. Loads neither Ray nor torch."""

from __future__ import annotations

from collections.abc import Sequence

from loops.lessons import Source
from loops.randomness import derive
from runtime.entry import enter
from runtime.learning.course import Course
from runtime.learning.history import Round
from runtime.models.training.order import INTERRUPTED, Order
from telemetry.events.learn import ModelRejected
from telemetry.events.values import ModelId


def order_of(course: Course, chosen: Sequence[Source], *, number: int) -> Order:
    """The training of the course's round `number` on the sessions that were chosen."""
    from runtime.models.training.learn_from import fitting

    settings, scenario = course.settings, course.file.scenario
    kind = settings.kind or fitting(chosen, asked=settings.steps is not None)
    return Order(
        name=course.name,
        kind=kind,
        steps=settings.steps if kind == "jepa" else None,
        seed=derive(scenario.seed, "training", number),
        workers=settings.workers,
        gpu=settings.gpu,
    )


def reject_unfit(url: str, candidate: Round, *, incumbent: ModelId) -> str | None:
    """Rejects on the log a candidate that needs no sessions for it, and says why; None where it is to be judged."""
    why = "it is what stands already" if candidate.model == incumbent else None
    if candidate.stopped is not None and candidate.stopped != INTERRUPTED:
        why = f"its training failed: {candidate.stopped}"
    if why is not None:
        said = ModelRejected(model=candidate.model, incumbent=incumbent, figures={}, why=why)
        enter(url, said, refs=(candidate.trained,), run=candidate.trained)
    return why
