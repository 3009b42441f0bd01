"""A stream's history in one pass: each event is checked against the chain as it is read, and reaches the folder as
the few columns that folding asks for.

Knows rows and the chain; what is wrong with a chain that does not hold, and how much is intact, `verify` knows.
Invariant: whatever is handed out of a checked history is what was acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, cast

from telemetry.errors import ChainBroken, InvalidEvent
from telemetry.events.envelope import GENESIS, WITHHELD, chain_hash, disclosed, header_bytes
from telemetry.events.registry import decode
from telemetry.events.session import Forked
from telemetry.log.lineage import FORKED
from telemetry.log.rows import COLUMNS, ENCODING, HASH, PAYLOAD, POSITION, STREAM, TYPE, VERSION, Row

Fact: TypeAlias = tuple[int, str, int, str, int, str, int, str, bytes | None]
"""position, stream, version, type, schema, command, epoch, encoding, and the payload as JSON: of a blob its content,
None where that is missing or the payload cannot be read as it is stored. A plain tuple, because one is made of every
event of every session that is rebuilt."""

_FACT = ("position", "stream", "version", "type", "schema", "command", "epoch", "encoding", "payload")
_fact = itemgetter(*map(COLUMNS.index, _FACT))
SELECT_FACTS = "SELECT " + ", ".join(f'"{name}"' for name in _FACT) + " FROM events"
"""What an unchecked history reads: half as much time as all columns. `version` stands where it does in them."""

_DIGEST = COLUMNS.index("digest")
_SCHEMA = COLUMNS.index("schema")
_HEADER = slice(STREAM, PAYLOAD)

_Cells: TypeAlias = tuple[Any, ...]
"""A row of a file that may have been altered: each column can hold anything."""

LoadBlob: TypeAlias = Callable[[object], bytes | None]
"""The content that a stored payload names; None when it is missing or altered."""


class Anchor(NamedTuple):
    """An event that a chain goes on from; as it is made, the beginning of a stream."""

    version: int = 0
    hash: bytes = GENESIS
    position: int = 0


BEGINNING = Anchor()


def plain_facts(pages: Iterable[list[Row]], load_blob: LoadBlob) -> Iterator[Fact]:
    """The facts of rows that SELECT_FACTS gave, as they stand."""
    for page in pages:
        for row in page:
            fact = cast(Fact, row)
            yield fact if fact[7] == "plain" else (*fact[:8], _content(fact[7], fact[8], load_blob))


def checked_facts(pages: Iterable[list[Row]], start: Anchor, load_blob: LoadBlob) -> Iterator[Fact]:
    """The facts of rows that SELECT gave. Raises `ChainBroken` at the first that does not go on from the one before."""
    version, previous, position = start
    for page in cast(Iterable[list[_Cells]], pages):
        for cells in page:
            version += 1
            before, payload, digest, header = previous, cells[PAYLOAD], cells[_DIGEST], cells[_HEADER]
            try:
                held = cells[VERSION] == version and cells[POSITION] > position
                if cells[ENCODING] == WITHHELD:
                    header = disclosed(header, payload)
                else:
                    held = held and sha256(payload).digest() == digest
                previous = chain_hash(before, header_bytes(header), digest)
            except TypeError:  # an altered file can hold text or bytes in any column
                held = False
            if not held or previous != cells[HASH]:
                raise ChainBroken(f"{_named(cells)} does not go on from the one before it. Try: aether log verify")
            position = cells[POSITION]
            if cells[ENCODING] == "plain":
                if cells[TYPE] == FORKED:
                    _check_pointer(cells, before)
                yield _fact(cells)
                continue
            content = _content(cells[ENCODING], payload, load_blob)
            if content is None and cells[ENCODING] == "blob":
                raise ChainBroken(f"the content of {_named(cells)} is missing or altered. Try: aether log verify")
            yield (*_fact(cells)[:8], content)


def _check_pointer(cells: _Cells, before: bytes) -> None:
    """A fork goes on from the event that its pointer names."""
    try:
        event = decode(FORKED, cells[_SCHEMA], cells[PAYLOAD])
        held = isinstance(event, Forked) and (event.at_version + 1, event.at_hash) == (cells[VERSION], before.hex())
    except InvalidEvent:
        held = False
    if not held:
        raise ChainBroken(f"{_named(cells)} points to another event than it goes on from. Try: aether log verify")


def _named(cells: _Cells) -> str:
    return f"event {cells[VERSION]} of {cells[STREAM]} (position {cells[POSITION]})"


def _content(encoding: object, payload: object, load_blob: LoadBlob) -> bytes | None:
    return load_blob(payload) if encoding == "blob" else None
