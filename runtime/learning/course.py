"""What a scenario that learns asks for.

Knows scenarios and orders; loads neither Ray nor torch. Invariant: two scenarios that teach one model of a name are one
course, the first that is met."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from runtime.errors import UsageError
from runtime.hosting.orders import SessionOrder
from runtime.models.registry.store import check_name
from runtime.scenario import LearningSettings, ScenarioFile, Schedule, parse_scenario
from runtime.sessions import opened, stream_of
from telemetry.log import open_log


@dataclass(frozen=True, slots=True)
class Course:
    """A scenario with its `[learning]`, and where it was read from."""

    file: ScenarioFile
    source: str
    settings: LearningSettings

    @property
    def name(self) -> str:
        """Of the models that it teaches."""
        return self.settings.model or self.file.scenario.name


def course_of(file: ScenarioFile, source: str) -> Course:
    """A scenario that says nothing of `[learning]` is run as if it held an empty table of that name, so that its
    sessions act by what is promoted. Raises `UsageError` where there is nothing to be learnt."""
    if file.scenario.environment.is_conversation:
        raise UsageError(
            f"{source} is a conversation, and a world model learns from moves. Nothing was started; "
            "give a scenario whose environment moves, as examples/maze.toml"
        )
    if file.scenario.learning is None:
        file = parse_scenario(f"{file.text.rstrip()}\n\n[learning]\n", source=source)
    settings = file.scenario.learning
    assert settings is not None
    check_name(settings.model or file.scenario.name)
    return Course(file, source, settings)


def scheduled(orders: Sequence[SessionOrder], *, url: str) -> list[Course]:
    """What these sessions learn by themselves: of each scenario among them that says when."""
    texts = {order.scenario_text: order.source for order in orders if order.scenario_text is not None}
    resumed = [order.session for order in orders if order.scenario_text is None]
    if resumed:
        with closing(open_log(url, mode="read")) as log:
            for name in resumed:
                if log.removed(stream_of(name)) is None:
                    texts.setdefault(opened(log, stream_of(name)).scenario_text, "scenario")
    found: dict[str, Course] = {}
    for text, source in texts.items():
        file = parse_scenario(text, source=source)
        learning = file.scenario.learning
        if learning is not None and learning.schedule != Schedule():
            course = Course(file, source, learning)
            found.setdefault(course.name, course)
    return list(found.values())
