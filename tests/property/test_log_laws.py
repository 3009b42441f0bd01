"""Laws of the chain, the seal and the store."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.errors import FencedWriter, IdempotencyConflict, WrongExpectedVersion
from telemetry.events import Recorded
from telemetry.events.envelope import GENESIS, chain_hash
from telemetry.log import Seal, open_log
from telemetry.log.seal import merkle_root
from tests.contract.stores import fill, note, why


@cache
def history() -> tuple[Recorded, ...]:
    """Some events of one stream."""
    with tempfile.TemporaryDirectory() as folder, closing(open_log(Path(folder) / "log.db")) as log:
        return fill(log, "a", 12)


def end_of(events: Sequence[Recorded]) -> bytes:
    """The chain's hash after `events`."""
    return reduce(lambda hash_, event: chain_hash(hash_, event.header(), event.digest), events, GENESIS)


@settings(deadline=None)  # the first example writes the history
@given(st.permutations(range(12)))
def test_the_chain_holds_in_one_order_only(order: list[int]) -> None:
    shuffled = [history()[number] for number in order]
    assert (end_of(shuffled) == history()[-1].hash) == (order == list(range(12)))


@settings(deadline=None)
@given(st.integers(0, 11), st.sampled_from(["command", "cause", "refs", "mode", "keys", "stream"]), st.text(min_size=1))
def test_any_other_header_gives_another_end(place: int, column: str, more: str) -> None:
    events = list(history())
    events[place] = replace(events[place], **{column: getattr(events[place], column) + more.encode().hex()})
    assert end_of(events) != history()[-1].hash


def rfc6962(leaves: list[bytes]) -> bytes:
    """Section 2.1 of the RFC, word for word: split at the largest power of two below n."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + rfc6962(leaves[:k]) + rfc6962(leaves[k:])).digest()


@given(st.lists(st.binary(max_size=5), max_size=40))
def test_the_merkle_root_is_that_of_the_rfc(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == rfc6962(leaves)


HEADS = st.lists(
    st.tuples(st.text(min_size=1, max_size=5), st.integers(1, 9), st.binary(min_size=4, max_size=4).map(bytes.hex)),
    unique_by=lambda head: head[0],
    max_size=8,
)


@given(HEADS, st.randoms())
def test_a_seal_survives_its_json_and_the_order_in_which_heads_came(
    heads: list[tuple[str, int, str]], random: object
) -> None:
    seal = Seal.of(heads, as_of=7)
    assert Seal.from_json(seal.to_json()) == seal
    assert Seal.of(reversed(heads), as_of=7) == seal


STEP = st.tuples(
    st.sampled_from("ab"),  # stream
    st.integers(-1, 1),  # how far the expected version is off
    st.integers(0, 2),  # epoch
    st.sampled_from("pqrst"),  # command
    st.sampled_from(["", "other"]),  # content
    st.integers(1, 3),  # events
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_the_store_does_what_a_list_in_memory_would(steps: list[tuple[str, int, int, str, str, int]]) -> None:
    model: list[tuple[str, str, int, str]] = []
    epochs = {"a": 0, "b": 0}
    with tempfile.TemporaryDirectory() as folder, closing(open_log(Path(folder) / "log.db")) as log:
        for stream, off, epoch, command, text, count in steps:
            version = sum(1 for kept in model if kept[0] == stream)
            drafts = [note(text, command=command, ordinal=ordinal) for ordinal in range(count)]
            wanted = [(stream, command, ordinal, text) for ordinal in range(count)]
            standing = [kept for kept in model if kept[:2] == (stream, command) and kept[2] < count]
            expected: type[Exception] | None = None
            if epoch < epochs[stream]:
                expected = FencedWriter
            elif standing and standing != wanted:
                expected = IdempotencyConflict
            elif not standing and off:
                expected = WrongExpectedVersion
            elif not standing:
                model += wanted
                epochs[stream] = epoch
            error = log.submit(stream, drafts, expected_version=version + off, epoch=epoch).exception()
            assert (None if error is None else type(error)) is expected
        assert [(e.stream, e.command, e.ordinal, why(e)) for e in log.read_all()] == model
        assert [event.position for event in log.read_all()] == list(range(1, len(model) + 1))
        assert log.verify().ok
