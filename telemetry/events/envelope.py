"""The envelope: what surrounds a fact from the moment it is drafted to the moment it is read back.

Knows the columns of the log and the chain over them; knows nothing of any store.
Invariant: the header is every stored column except position, payload's digest and hash, as they were first stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import orjson

from telemetry.errors import InvalidEvent, PayloadWithheld
from telemetry.events.event import Event, Unknown
from telemetry.events.registry import decode

Mode = Literal["execution", "simulation", "optimisation", "import", "synthetic"]
Encoding = Literal["plain", "zstd", "aes-gcm", "blob", "withheld"]

WITHHELD = "withheld"
"""An event of this encoding came without its payload. Its stored payload names the encoding that it had, for the chain
covers that one; its digest is the one of the payload that did not come."""

GENESIS = bytes(32)
"""The hash before a stream's first event."""


_ENCODING = 14
"""Its place in `Recorded.columns`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event on its way to the log. `command` names what caused it, `ordinal` its place in that command."""

    event: Event
    command: str
    ordinal: int = 0
    cycle: int = 0
    cause: str = ""
    refs: tuple[str, ...] = ()
    mode: Mode = "execution"
    elapsed_ns: int = 0
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One row of the log, as stored. `refs` and `keys` are canonical JSON lists, as the chain covers them."""

    position: int
    stream: str
    version: int
    type: str
    schema: int
    command: str
    ordinal: int
    at: int
    elapsed_ns: int
    epoch: int
    cycle: int
    phase: str
    cause: str
    refs: str
    mode: str
    encoding: str
    keys: str
    payload: bytes
    digest: bytes
    hash: bytes
    content: bytes | None = None
    """What a blob reference in `payload` points to, filled in by the log on reading; never stored here."""

    @property
    def withheld(self) -> bool:
        """Whether the payload stayed behind when the event was taken here."""
        return self.encoding == WITHHELD

    @property
    def id(self) -> str:
        """`stream@version`."""
        return f"{self.stream}@{self.version}"

    def columns(self) -> tuple[str | int, ...]:
        """Every column except position, payload, digest and hash, in the envelope's order."""
        return (
            self.stream,
            self.version,
            self.type,
            self.schema,
            self.command,
            self.ordinal,
            self.at,
            self.elapsed_ns,
            self.epoch,
            self.cycle,
            self.phase,
            self.cause,
            self.refs,
            self.mode,
            self.encoding,
            self.keys,
        )

    def header(self) -> bytes:
        """Canonical bytes of `columns` as the event was first stored, also where its payload is withheld since."""
        columns = self.columns()
        return header_bytes(columns if self.encoding != WITHHELD else disclosed(columns, self.payload))

    @cached_property
    def event(self) -> Event | Unknown:
        """The payload, decoded and upcast to today's schema. Raises `InvalidEvent` when it is neither."""
        body = self.payload if self.encoding == "plain" else self.content
        if body is None:
            raise unreadable(self.id, self.encoding)
        return decode(self.type, self.schema, body)


def unreadable(event_id: str, encoding: str) -> InvalidEvent:
    """The error of an event whose payload is not there to be read."""
    if encoding == WITHHELD:
        return PayloadWithheld(
            f"the payload of event {event_id} is withheld: it was not in the record that this log was rebuilt from. "
            "Its header, the chain and what is not withheld are intact; aether log verify counts them. "
            "To get it: aether log rebuild --from-otlp with a record that holds what is stored"
        )
    return InvalidEvent(
        f"the content of event {event_id} is stored as {encoding!r} and is missing or altered. "
        "Its header is intact. Try: aether log verify"
    )


def disclosed(columns: tuple[str | int, ...], payload: object) -> tuple[str | int, ...]:
    """The columns of an event as they were before its payload was withheld; `payload` is what is stored instead."""
    encoding = payload.decode(errors="replace") if isinstance(payload, bytes) else repr(payload)
    return (*columns[:_ENCODING], encoding, *columns[_ENCODING + 1 :])


def header_bytes(columns: tuple[str | int, ...]) -> bytes:
    """The header of the chain: a JSON list of the columns as stored."""
    return orjson.dumps(columns)


def chain_hash(previous: bytes, header: bytes, digest: bytes) -> bytes:
    """SHA-256(previous hash ‖ header ‖ digest), 32 bytes."""
    return hashlib.sha256(previous + header + digest).digest()


def split_id(event_id: str) -> tuple[str, int]:
    """`session/7f3a@12` → (`session/7f3a`, 12). Raises `InvalidEvent` for anything else."""
    stream, at, version = event_id.rpartition("@")
    if not at or not stream or not version.isdigit():
        raise InvalidEvent(f"{event_id!r} is not an event id; one looks like session/7f3a9c01d2e4@12")
    return stream, int(version)
