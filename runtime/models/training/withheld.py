"""What must not be learnt from, and why: asked of every session before anything of it is read to learn from.

Knows what the log says of purpose and consent; knows no transitions. Invariant: what is withheld is counted, and no
row of it reaches a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from loops.lessons import Source
from telemetry.events import privacy
from telemetry.log import EventLog

Why = Literal["evaluation", "withdrawn", "erased", "unreadable"]

SUBJECT: Final = "subject/"
"""The streams on which a person's consent stands, each by the name that the sessions know the person by."""

WORDS: Final = ("privacy.consent_granted", "privacy.consent_withdrawn", "privacy.subject_erased")

EVERYTHING: Final = ""
"""Stands for the purposes of a withdrawal that names none."""


class Allowed(NamedTuple):
    """The sessions that may be learnt from, and how many of those asked for may not, by why."""

    sources: tuple[Source, ...]
    excluded: dict[str, int]


def allowed(log: EventLog, chosen: Sequence[Source]) -> Allowed:
    kept: list[Source] = []
    excluded = Counter[str]()
    for source in chosen:
        why = withheld(log, source)
        if why is None:
            kept.append(source)
        else:
            excluded[why] += 1
    return Allowed(tuple(kept), dict(sorted(excluded.items())))


def withheld(log: EventLog, source: Source) -> Why | None:
    """Why nothing of a session may be learnt from; None where it may. A fork is judged by its ancestor's opening.

    An evaluation judges models and teaches none. Where a session serves a person, what that person withdrew stays
    withdrawn until the same purposes are granted again, and what was erased stays erased. Where it cannot be read what
    they said, as its payload did not come with the log, nothing is learnt either."""
    if source.opened.purpose == "evaluation":
        return "evaluation"
    person = source.opened.person
    return None if person is None else _of_person(log, person, source.stream)


def _of_person(log: EventLog, person: str, stream: str) -> Why | None:
    """As said on the person's own stream, or inside the session."""
    subject = SUBJECT + person
    streams = [stream] if log.head(subject) is None else [subject, stream]
    said = sorted(
        (recorded for each in streams for recorded in log.read(each, types=WORDS)), key=lambda one: one.position
    )
    withdrawn: set[str] = set()
    for recorded in said:
        if recorded.withheld:
            return "unreadable"
        match recorded.event:
            case privacy.SubjectErased(subject=name) if name == person:
                return "erased"
            case privacy.ConsentWithdrawn(subject=name, purposes=purposes) if name == person:
                withdrawn |= set(purposes) or {EVERYTHING}
            case privacy.ConsentGranted(subject=name, purposes=purposes) if name == person:
                withdrawn -= set(purposes)
    return "withdrawn" if withdrawn else None
