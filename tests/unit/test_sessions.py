"""Sessions as rows: what a list shows, from the log alone."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.errors import NotFound, OwnedElsewhere, VerificationFailed
from runtime.ledger import LedgerRow, ledger
from runtime.sessions import SessionRow, all_heads, new_session, opened, row_of, stream_of
from telemetry.events import Draft, session
from telemetry.log import EventLog, open_log
from tests.local import Cut, Cutter, Local

NULL = """
name = "null"
environment = { id = "null:" }
memory = { recall = 0 }
"""
ASKS = (
    NULL
    + """
[[heart.rules]]
id = "ask"
verdict = "ask"
reason = "r"
actions = [0, 1]
"""
)


def row(local: Local, name: str) -> object:
    head = local.log.head(f"session/{name}")
    assert head is not None
    return row_of(local.log, head)


def test_a_host_whose_session_another_takes_up_is_told_who_did_and_writes_no_more(local: Local) -> None:
    others: list[SessionRow] = []

    def stop() -> bool:
        if not others and len(local.events("s", "session.cycle_closed")) == 2:
            others.append(_by_another(local))
        return False

    with pytest.raises(OwnedElsewhere, match=r"session s was taken up by the host other/2: .* aether session resume s"):
        local.run("s", NULL, cycles=5, stop=stop)
    assert [other.outcome for other in others] == ["cycles"]
    assert local.types("s").count("session.resumed") == 1
    assert local.log.verify().ok


def test_of_two_hosts_that_take_a_session_up_at_once_one_wins(local: Local) -> None:
    local.run("s", NULL, cycles=5, stop=lambda: bool(local.events("s", "session.cycle_closed")))

    class Meanwhile(Cutter):
        def here(self) -> None:
            super().here()
            if self.seen == 1:  # before its first commit, which says that it resumes
                _by_another(local)

    with pytest.raises(OwnedElsewhere, match="other/2"):
        local.run("s", NULL, commits=Meanwhile())
    assert local.types("s").count("session.resumed") == 1
    assert local.types("s")[-1] == "session.closed"


def _by_another(local: Local) -> SessionRow:
    """The whole rest of the session, in another event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(local.run, "s", NULL, owner="other/2").result()


def page_of(local: Local, *, after: str = "", limit: int = 100) -> tuple[list[LedgerRow], str | None]:
    with ledger(local.log) as found:
        return found.page(after=after, limit=limit)


def test_a_row_says_how_each_session_stands(local: Local) -> None:
    local.run("closed", NULL, cycles=2)
    local.run("waiting", ASKS, cycles=2)
    local.run("suspended", NULL, cycles=9, stop=iter([False, False, True]).__next__)
    with pytest.raises(Cut):
        local.run("open", NULL, cycles=9, commits=Cutter(at=10))
    with pytest.raises(Cut):
        local.run("new", NULL, cycles=9, commits=Cutter(at=2))
    page, following = page_of(local)
    assert following is None
    assert [(r.session, r.status, r.cycles, r.outcome, bool(r.state_hash)) for r in page] == [
        ("closed", "closed", 2, "cycles", True),
        ("new", "open", 0, None, False),
        ("open", "open", 2, None, True),
        ("suspended", "suspended", 2, None, True),
        ("waiting", "waiting", 0, None, True),
    ]
    assert {r.scenario for r in page} == {"null"}
    with pytest.raises(Cut):
        local.run("suspended", NULL, cycles=9, commits=Cutter(at=2))
    page, _ = page_of(local)
    assert [(r.status, r.cycles) for r in page if r.session == "suspended"] == [("open", 2)], "it was taken up again"


def test_rows_come_in_pages_that_hold_each_session_once(local: Local) -> None:
    names = [f"s{n}" for n in range(7)]
    for name in names:
        local.run(name, NULL, cycles=1)
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page, after = page_of(local, after=after, limit=3)
        assert len(page) <= 3
        found += [r.session for r in page]
    assert found == names
    assert [head.stream for head in all_heads(local.log)] == [stream_of(name) for name in names]


def test_a_row_is_the_one_the_runner_ended_with(local: Local) -> None:
    ended = local.run("null", NULL, cycles=3)
    assert row(local, "null") == ended


def test_a_stream_that_no_event_opens_is_no_session(log: EventLog) -> None:
    log.append("session/x", [Draft(event=session.CycleOpened(cycle=1), command="a")], expected_version=0, epoch=1)
    head = log.head("session/x")
    assert head is not None
    with pytest.raises(NotFound, match="no event that opens it"):
        row_of(log, head)
    with ledger(log) as found, pytest.raises(NotFound, match="no event that opens it"):
        found.page()
    with pytest.raises(NotFound, match="there is no session 'y'"):
        opened(log, "session/y")


def test_session_ids_are_twelve_hexadecimal_digits_and_differ() -> None:
    made = {new_session() for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in made)
    assert stream_of("a") == stream_of("session/a") == "session/a"


def test_an_altered_session_is_not_taken_up_and_nothing_is_written(local: Local) -> None:
    import sqlite3

    local.run("null", NULL, cycles=9, stop=iter([False, False, True]).__next__)
    head = local.log.head("session/null")
    with sqlite3.connect(local.log.url) as other:
        other.execute("UPDATE events SET payload = '{}' WHERE type = 'reason.decided'")
    with pytest.raises(VerificationFailed, match="Nothing was written; try: aether log verify"):
        local.run("null", NULL, cycles=9)
    assert local.log.head("session/null") == head
    reader = open_log(local.log.url, mode="read")
    assert not reader.verify().ok
    reader.close()
