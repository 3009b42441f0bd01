"""A seal: where every stream ended at one position, under one Merkle root (RFC 6962, section 2.1).

Knows hashes; knows no store. Invariant: `Seal.of(...)` holds, and any change of a head changes the root."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from telemetry.errors import InvalidSeal

FORMAT = "aetherloop-seal-1"


@dataclass(frozen=True, slots=True)
class Seal:
    """`heads` are (stream, version, hash in hex), in order of the streams' UTF-8 bytes; `root` is in hex."""

    as_of: int
    root: str
    heads: tuple[tuple[str, int, str], ...]

    @classmethod
    def of(cls, heads: Iterable[tuple[str, int, str]], *, as_of: int) -> Seal:
        ordered = tuple(sorted(heads, key=lambda head: head[0].encode()))
        return cls(as_of=as_of, root=merkle_root([_leaf(head) for head in ordered]).hex(), heads=ordered)

    def check(self) -> None:
        """Raises `InvalidSeal` when the heads do not give the root."""
        found = Seal.of(self.heads, as_of=self.as_of)
        if found != self:
            raise InvalidSeal(
                f"the seal of position {self.as_of} was altered: its heads give the root {found.root[:12]}…, "
                f"it names {self.root[:12]}…. The log was not judged by it; use an unaltered copy of the seal."
            )

    def to_json(self) -> bytes:
        return orjson.dumps(
            {"format": FORMAT, "as_of": self.as_of, "root": self.root, "heads": self.heads},
            option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )

    @classmethod
    def from_json(cls, text: bytes | str) -> Seal:
        """Raises `InvalidSeal` for anything that `to_json` does not write, or whose heads do not give its root."""
        try:
            read = orjson.loads(text)
            if read["format"] != FORMAT:
                raise ValueError(f"format {read['format']!r}")
            seal = cls(
                as_of=int(read["as_of"]),
                root=str(read["root"]),
                heads=tuple((str(stream), int(version), str(end)) for stream, version, end in read["heads"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidSeal(f"this is not a seal of this version ({error}); `aether log seal` writes one.") from error
        seal.check()
        return seal


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962: leaves are hashed behind a 0 byte and nodes behind a 1 byte, so that neither passes for the other."""
    if not leaves:
        return hashlib.sha256().digest()
    stack: list[tuple[int, bytes]] = []
    """Roots of complete subtrees, largest first, with their sizes."""
    for leaf in leaves:
        size, root = 1, hashlib.sha256(b"\x00" + leaf).digest()
        while stack and stack[-1][0] == size:
            size, root = size * 2, _node(stack.pop()[1], root)
        stack.append((size, root))
    root = stack.pop()[1]
    while stack:
        root = _node(stack.pop()[1], root)
    return root


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _leaf(head: tuple[str, int, str]) -> bytes:
    return orjson.dumps(head)
