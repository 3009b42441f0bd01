"""What is never learnt from: evaluations, and the sessions of people who took back their consent or were erased."""

from __future__ import annotations

import pytest

from loops.lessons import Source, read_lessons
from runtime.models.training.withheld import Why, allowed, withheld
from telemetry.events import Draft, Event, privacy, session
from telemetry.log import EventLog
from tests.local import Local

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 6, episodes = 9 }
world_model = { kind = "none" }
memory = { recall = 0 }
"""
WITHDRAWN = privacy.ConsentWithdrawn(subject="ada", purposes=("learning",))
GRANTED = privacy.ConsentGranted(subject="ada", purposes=("learning",))
ALL = privacy.ConsentWithdrawn(subject="ada", purposes=())


def source(local: Local, name: str, **changed: str) -> Source:
    """A session that ran, opened as it was but for what is `changed`."""
    local.run(name, LINE, seed=len(name), cycles=4)
    (first,) = local.events(name, "session.opened")
    assert isinstance(first.event, session.Opened)
    return Source(f"session/{name}", first.event.model_copy(update=changed))


def say(log: EventLog, stream: str, *events: Event) -> None:
    head = log.head(stream)
    version, epoch = (0, 1) if head is None else (head.version, head.epoch)
    drafts = [Draft(event=event, command=f"consent.{version}.{n}") for n, event in enumerate(events)]
    log.append(stream, drafts, expected_version=version, epoch=epoch)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ((), None),
        ((GRANTED,), None),
        ((WITHDRAWN,), "withdrawn"),
        ((WITHDRAWN, GRANTED), None),
        ((GRANTED, WITHDRAWN), "withdrawn"),
        ((ALL, GRANTED), "withdrawn"),
        ((privacy.SubjectErased(subject="ada", keys=("k",)), GRANTED), "erased"),
        ((privacy.ConsentWithdrawn(subject="bob", purposes=("learning",)),), None),
    ],
)
@pytest.mark.parametrize("stream", ["subject/ada", "session/served"])
def test_what_a_person_said_last_decides(local: Local, stream: str, said: tuple[Event, ...], why: Why | None) -> None:
    served = source(local, "served", person="ada")
    if said:
        say(local.log, stream, *said)
    assert withheld(local.log, served) == why


def test_what_is_said_on_two_streams_counts_in_the_order_of_the_log(local: Local) -> None:
    served = source(local, "served", person="ada")
    say(local.log, "session/served", WITHDRAWN)
    say(local.log, "subject/ada", GRANTED)
    assert withheld(local.log, served) is None
    say(local.log, "session/served", WITHDRAWN)
    assert withheld(local.log, served) == "withdrawn"


def test_what_is_withheld_is_counted_and_no_row_of_it_is_read(local: Local) -> None:
    plain, other = source(local, "plain"), source(local, "another")
    judged = source(local, "judged", purpose="evaluation")
    mine = source(local, "served", person="ada")
    say(local.log, "subject/ada", WITHDRAWN)
    found = allowed(local.log, [plain, judged, mine, other])
    assert found.sources == (plain, other)
    assert found.excluded == {"evaluation": 1, "withdrawn": 1}
    whole = read_lessons(local.log, [plain, judged, mine, other])
    assert read_lessons(local.log, found.sources).digest != whole.digest
