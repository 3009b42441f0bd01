"""Logs of real sessions, as they were written once, are read by every later version to the same states."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from loops.state import REDUCER, SessionState, apply, state_hash
from telemetry.events import Recorded, Unknown, encode, session
from telemetry.events.envelope import GENESIS, chain_hash
from telemetry.events.registry import CLASSES

GOLDEN = Path(__file__).parent
LOGS = sorted(path.name for path in GOLDEN.glob("*.jsonl"))
FAITHFUL = [name for name in LOGS if "must-fail" not in name]
SESSIONS = [name for name in FAITHFUL if not name.startswith("shapes")]
ALTERED = [name for name in LOGS if "must-fail" in name]


def read(name: str) -> Iterator[Recorded]:
    """The events of an exported log."""
    for line in (GOLDEN / name).read_bytes().splitlines():
        columns = orjson.loads(line)
        columns |= {
            "payload": columns["payload"].encode(),
            "digest": bytes.fromhex(columns["digest"]),
            "hash": bytes.fromhex(columns["hash"]),
        }
        yield Recorded(**columns)


def disagreements(name: str) -> list[int]:
    """Versions whose recorded state hash does not come out of folding what stands before them."""
    state, found = SessionState(), []
    for recorded in read(name):
        event = recorded.event
        state = apply(state, event)
        if isinstance(event, session.CycleClosed):
            assert event.reducer == REDUCER, "record golden logs of the new reducer beside these"
        match event:
            case session.CycleClosed() | session.Closed() | session.Suspended():
                if event.state_hash != state_hash(state):
                    found.append(recorded.version)
    return found


@pytest.mark.parametrize("name", SESSIONS)
def test_a_golden_log_folds_to_its_recorded_state_hashes(name: str) -> None:
    assert disagreements(name) == []


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_golden_log_does_not_fold_to_its_recorded_state_hashes(name: str) -> None:
    assert disagreements(name) != []


@pytest.mark.parametrize("name", FAITHFUL)
def test_a_golden_log_still_chains_to_its_recorded_hashes(name: str) -> None:
    ends: dict[str, bytes] = {}
    for recorded in read(name):
        assert hashlib.sha256(recorded.payload).digest() == recorded.digest
        event = recorded.event
        begins = bytes.fromhex(event.at_hash) if isinstance(event, session.Forked) else GENESIS
        previous = ends.get(recorded.stream, begins)
        ends[recorded.stream] = chain_hash(previous, recorded.header(), recorded.digest)
        assert ends[recorded.stream] == recorded.hash, recorded.id


@pytest.mark.parametrize("name", FAITHFUL)
def test_a_golden_log_is_written_again_byte_for_byte(name: str) -> None:
    for recorded in read(name):
        event = recorded.event
        assert not isinstance(event, Unknown), recorded.type
        if recorded.schema == event.SCHEMA:
            assert encode(event) == recorded.payload, recorded.id


def test_the_golden_logs_hold_what_they_are_kept_for() -> None:
    maze, lava = ({r.type for r in read(name)} for name in ("maze.jsonl", "lava.jsonl"))
    assert {"sense.recalled", "sense.surprised", "learn.remembered", "learn.belief_updated"} <= maze
    assert {"feel.inhibited", "feel.alternative_offered", "session.closed"} <= lava
    refund = {r.type for r in read("refund.jsonl")}
    assert {"reason.requested", "reason.answered", "execute.intended", "learn.session_reviewed"} <= refund
    assert ALTERED


def test_no_golden_log_names_a_machine() -> None:
    for name in LOGS:
        text = (GOLDEN / name).read_text(encoding="utf-8")
        assert not [word for word in ("/home/", "/root/", "/tmp/", "/Users/") if word in text], name


def frozen() -> list[tuple[str, int]]:
    """The lines of vocabulary.txt."""
    lines = (GOLDEN / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    return [(name, int(schema)) for name, _, schema in (line.partition(" ") for line in lines)]


def test_the_vocabulary_holds_every_shape_up_to_todays_and_no_other() -> None:
    """A line is added for a new type, and one for each new shape of a type; none is changed or taken away."""
    today = [(name, schema) for name in sorted(CLASSES) for schema in range(1, CLASSES[name].SCHEMA + 1)]
    assert frozen() == today, "add a line to tests/golden/vocabulary.txt for what is new; leave the others as they are"


def test_every_shape_of_the_vocabulary_stands_in_a_golden_log() -> None:
    held = {(recorded.type, recorded.schema) for log in FAITHFUL for recorded in read(log)}
    assert set(frozen()) - held == set(), (
        "a log of an old shape must stay; for a new one, record a session that holds it, or fill an event in in "
        "tests/golden/shapes.py and run: python -m tests.golden.record shapes-N, with the next N"
    )
