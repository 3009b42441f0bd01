"""Replay folds what was recorded and says where it does not agree."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from loops.state import REDUCER
from runtime.errors import NotFound, UsageError, VerificationFailed
from runtime.fork import fork
from runtime.replay import replay
from telemetry.events import Draft, Recorded, session
from telemetry.events.envelope import GENESIS, chain_hash
from telemetry.log import EventLog, open_log
from telemetry.log.imports import import_lines
from tests.aether import Aether
from tests.local import Local
from tests.worlds import ACTS

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", options = { mark = "replay" } }
memory = { recall = 0 }
"""


def test_a_replay_reproduces_the_state_hash_and_acts_nowhere(local: Local) -> None:
    row = local.run("line", LINE, cycles=5)
    ACTS.clear()
    report = replay(local.log, "line")
    assert report.agrees
    assert (report.state_hash, report.version, report.cycles) == (row.state_hash, row.version, 5)
    assert (report.checked, report.not_comparable, report.unknown) == (6, 0, 0)
    assert not ACTS
    assert replay(local.log, "session/line") == report


def test_a_replay_stops_at_the_version_it_is_asked_for(local: Local) -> None:
    local.run("line", LINE, cycles=5)
    third = local.events("line", "session.cycle_closed")[2]
    report = replay(local.log, "line", to=third.version)
    assert isinstance(third.event, session.CycleClosed)
    assert (report.version, report.cycles, report.checked) == (third.version, 3, 3)
    assert report.state_hash == third.event.state_hash
    head = local.log.head("session/line")
    assert head is not None
    for wrong in (0, -1, head.version + 1):
        with pytest.raises(UsageError, match=f"versions 1 to {head.version}; {wrong} is not"):
            replay(local.log, "line", to=wrong)


def test_a_replay_names_the_first_version_whose_hash_does_not_come_out(local: Local) -> None:
    local.run("line", LINE, cycles=2, stop=iter([False, True]).__next__)
    said = session.CycleClosed(cycle=2, state_hash="f" * 64, reducer=REDUCER)
    wrong = local.append("line", Draft(event=said, command="wrong", cycle=2))
    local.append("line", Draft(event=said, command="wrong again", cycle=2))
    report = replay(local.log, "line")
    assert not report.agrees
    assert (report.differs_at, report.recorded) == (wrong.version, "f" * 64)
    assert report.state_hash != "f" * 64


def test_a_hash_of_another_reducer_is_not_comparable(local: Local) -> None:
    local.run("line", LINE, cycles=2, stop=iter([False, True]).__next__)
    other = session.CycleClosed(cycle=2, state_hash="f" * 64, reducer=REDUCER + 1)
    local.append("line", Draft(event=other, command="other", cycle=2))
    report = replay(local.log, "line")
    assert (report.agrees, report.not_comparable) == (True, 1)


def test_a_session_that_is_not_there_is_answered_with_the_nearest(local: Local) -> None:
    with pytest.raises(NotFound, match="this log holds no session yet"):
        replay(local.log, "line")
    local.run("line", LINE, cycles=1)
    with pytest.raises(NotFound, match="did you mean 'line'"):
        replay(local.log, "lina")


# --- logs that were altered, erased, forked ------------------------------------------------------

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(log: EventLog, name: str, *changes: tuple[int, dict[str, str]]) -> list[Recorded]:
    """Imports a golden log in which the events of these versions have other columns, chained anew as if they had been
    written so."""
    told = [orjson.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()]
    for version, columns in changes:
        told[version - 1] |= columns
    previous = GENESIS
    for line in told:
        payload = line["payload"].encode()
        digest = hashlib.sha256(payload).digest()
        event = Recorded(**line | {"payload": payload, "digest": digest, "hash": b""})
        previous = chain_hash(previous, event.header(), digest)
        line["digest"], line["hash"] = digest.hex(), previous.hex()
    import_lines(log, map(orjson.dumps, told))
    return list(log.read(f"session/{name}"))


def altered(log: EventLog, version: int) -> None:
    with closing(sqlite3.connect(log.url, isolation_level=None)) as other:
        other.execute("UPDATE events SET payload = '{}' WHERE version = ?", (version,))


@pytest.mark.parametrize("name", ["maze", "lava", "refund"])
@pytest.mark.parametrize("checked", [True, False])
def test_a_golden_log_agrees_with_itself(log: EventLog, name: str, checked: bool) -> None:
    events = golden(log, name)
    report = replay(log, name, checked=checked)
    assert (report.agrees, report.version, report.unreadable, report.unreadable_from) == (True, len(events), 0, None)
    assert report.checked == sum(e.type in ("session.cycle_closed", "session.closed") for e in events)


def test_an_event_that_was_never_so_is_found_by_the_next_recorded_hash(log: EventLog) -> None:
    """The alteration of `maze-must-fail`, written into the chain as its forger would."""
    payload = '{"episode_return":0.5,"reward":0.0,"success":false}'
    events = golden(log, "maze", (68, {"payload": payload}))
    report = replay(log, "maze")
    assert report.differs_at == next(e.version for e in events if e.version > 68 and e.type == "session.cycle_closed")
    assert log.verify().ok


def test_a_chain_that_breaks_is_said_with_what_is_intact(log: EventLog) -> None:
    """`maze-must-fail` itself."""
    golden(log, "maze")
    altered(log, 68)
    with pytest.raises(VerificationFailed) as caught:
        replay(log, "maze")
    said = str(caught.value)
    assert "the chain of session maze breaks: event 68 of session/maze" in said
    assert "Versions 1–67 are intact and agree with all 2 hashes recorded in them" in said
    assert replay(log, "maze", to=67).agrees


def test_a_chain_that_breaks_at_its_first_event_leaves_nothing_intact(log: EventLog) -> None:
    golden(log, "maze")
    altered(log, 1)
    with pytest.raises(VerificationFailed, match=r"event 1 of session/maze .* No event is intact"):
        replay(log, "maze")


ERASED = {"encoding": "aes-gcm", "payload": "ciphertext without a key"}


def test_over_erased_payloads_the_chain_is_verified_and_the_state_is_not_checkable(log: EventLog) -> None:
    events = golden(log, "maze")
    seen = [e.version for e in events if e.type == "sense.observed"]
    other = open_log(Path(f"{log.url}.erased"))
    with closing(other):
        golden(other, "maze", (seen[2], ERASED), (seen[4], ERASED))
        report = replay(other, "maze")
        assert (report.agrees, report.version, report.unreadable) == (True, len(events), 2)
        assert (report.unreadable_from, report.cycles, report.checked) == (3, 2, 2)
        assert replay(other, "maze", to=seen[2] - 1).unreadable_from is None
        assert other.verify().ok
        altered(other, seen[4])
        with pytest.raises(VerificationFailed, match=f"event {seen[4]} of session/maze"):
            replay(other, "maze")


def test_a_session_whose_opening_was_erased_is_not_checkable_from_its_beginning(log: EventLog) -> None:
    events = golden(log, "maze", (1, ERASED))
    report = replay(log, "maze")
    assert (report.version, report.unreadable, report.unreadable_from, report.checked) == (len(events), 1, 0, 0)


def test_a_fork_is_replayed_with_what_it_shares_and_its_parents_alteration_is_found(local: Local) -> None:
    local.run("line", LINE, cycles=5)
    cut = local.events("line", "session.cycle_closed")[2]
    fork(local.log, "line", at=cut.version, new="f")
    local.run("f", LINE, cycles=5)
    assert replay(local.log, "f").checked == replay(local.log, "line").checked
    assert replay(local.log, "f").agrees
    altered(local.log, cut.version - 1)
    with pytest.raises(VerificationFailed, match=f"chain of session f breaks: event {cut.version - 1} of session/line"):
        replay(local.log, "f")


def test_the_command_says_from_which_cycle_the_state_is_not_checkable_and_what_of_a_broken_chain_is_intact(
    log: EventLog, aether: Aether
) -> None:
    seen = [e.version for e in golden(log, "maze") if e.type == "sense.observed"]
    erased = Path(f"{log.url}.erased")
    with closing(open_log(erased)) as other:
        golden(other, "maze", (seen[2], ERASED))
    told = aether("replay", "maze", "--log", str(erased))
    assert (told.code, told.err) == (0, "")
    assert "chain verified, state not checkable from cycle 3: 1 events cannot be read" in told.out
    altered(log, 68)
    broken = aether("replay", "maze", "--log", log.url)
    assert (broken.code, broken.out) == (4, "")
    assert "Versions 1–67 are intact" in broken.err
