"""Playbooks as the log holds them: every version of one is an event of the stream `model/<its name>`.

Knows names, digests and order; knows nothing of how a playbook shapes reasoning. Invariant: a version is never
changed or lost, so `name@digest` means the same for ever."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.errors import NotFound, UsageError
from runtime.explain import explain_validation, nearest
from runtime.people.mailbox import Mailbox, NobodyThere
from telemetry.errors import LogNotFound, PayloadWithheld
from telemetry.events import Draft
from telemetry.events.learn import PlaybookWritten
from telemetry.events.values import EventId, ModelId, Playbook
from telemetry.log import EventLog, open_log

PREFIX = "model/"
WRITTEN = "learn.playbook_written"


class Version(BaseModel):
    """One version of a playbook, as it was laid down at `at` (UTC, ns)."""

    model_config = ConfigDict(frozen=True)

    event: EventId
    at: int
    playbook: Playbook
    previous: ModelId | None
    why: str


def read_playbook(path: Path) -> Playbook:
    """Raises `UsageError` with file, line and the nearest known key for anything that cannot be meant."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"playbook {path} cannot be read: {error}") from error
    try:
        return Playbook.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise UsageError(explain_validation(error, Playbook, text=text, source=str(path))) from error


def lay_down(url: str, playbook: Playbook, *, why: str = "") -> EventId:
    """As `write`, in the log at `url`, which is made where there is none: by its live host if one is there, else as the
    writer of the log for that moment. Returns the event that holds the version. Raises `LogHeld` as well, when another
    process writes the log and does not answer."""
    try:
        return Mailbox(url).lay_down(playbook, why=why)
    except NobodyThere:
        with closing(open_log(url)) as log:
            return version(log, write(log, playbook, why=why)).event


def write(log: EventLog, playbook: Playbook, *, why: str = "") -> ModelId:
    """Lays a version down and returns its id. The newest version again is not written again; an older one is, so
    that it becomes the newest. Raises `WrongExpectedVersion` when somebody else wrote in between."""
    newest = next(versions(log, playbook.name), None)
    if newest is not None and newest.playbook == playbook:
        return playbook.id
    stream = PREFIX + playbook.name
    head = log.head(stream)
    version, epoch = (0, 1) if head is None else (head.version, head.epoch)
    event = PlaybookWritten(playbook=playbook, previous=None if newest is None else newest.playbook.id, why=why)
    log.append(stream, [Draft(event=event, command=f"write.{version + 1}")], expected_version=version, epoch=epoch)
    return playbook.id


def newest_event(url: str, name: str) -> EventId | None:
    """The event of the newest version of `name`; None where there is none, or no log yet."""
    try:
        with closing(open_log(url, mode="read")) as log:
            return next((found.event for found in versions(log, name)), None)
    except LogNotFound:
        return None


def versions(log: EventLog, name: str) -> Iterator[Version]:
    """The versions of the playbook `name`, newest first; none when there is no such playbook."""
    for recorded in log.read_back(PREFIX + name, types=(WRITTEN,)):
        event = recorded.event
        if isinstance(event, PlaybookWritten):
            yield Version(
                event=recorded.id, at=recorded.at, playbook=event.playbook, previous=event.previous, why=event.why
            )


def find(log: EventLog, name: str) -> Playbook:
    """The newest version of `name`, or the one that is called `name@digest`. Raises `NotFound` with the nearest."""
    return version(log, name).playbook


def version(log: EventLog, name: str) -> Version:
    """As `find`, with when and why it was written."""
    plain, at, _ = name.partition("@")
    ids: list[ModelId] = []
    for found in versions(log, plain):
        if not at or found.playbook.id == name:
            return found
        ids.append(found.playbook.id)
    if ids:
        raise NotFound(f"there is no version {name!r} of the playbook {plain!r} in {log.name}{nearest(name, ids)}")
    known = [found.playbook.name for found in _newest(log)]
    hint = nearest(plain, known) if known else "; this log holds no playbook yet. Try: aether playbook add FILE"
    raise NotFound(f"there is no playbook {plain!r} in {log.name}{hint}")


def page(
    log: EventLog, *, after: str = "", limit: int = 100, untold: Callable[[str], None] = lambda _: None
) -> tuple[list[Version], str | None]:
    """The newest versions of up to `limit` playbooks in the order of their names, and the name to continue after.
    `untold` hears of each that is left out, as its newest version is withheld."""
    found: list[Version] = []
    for newest in _newest(log, after=after, untold=untold):
        if len(found) == limit:
            return found, found[-1].playbook.name
        found.append(newest)
    return found, None


def _newest(log: EventLog, *, after: str = "", untold: Callable[[str], None] = lambda _: None) -> Iterator[Version]:
    """The newest version of every playbook; other models have streams among theirs."""
    stream = PREFIX + after if after else ""
    while heads := log.heads(prefix=PREFIX, after=stream, limit=500):
        for head in heads:
            name = head.stream.removeprefix(PREFIX)
            try:
                yield from islice(versions(log, name), 1)
            except PayloadWithheld:
                untold(name)
        stream = heads[-1].stream
