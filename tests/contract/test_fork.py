"""What a fork promises: it reads as its parent's first events and then its own, and nothing is copied."""

from __future__ import annotations

import random
from dataclasses import fields

import pytest

from telemetry.errors import IdempotencyConflict, InvalidEvent, LogDamaged, LogError, WrongExpectedVersion
from telemetry.events import Draft, Recorded, session
from telemetry.events.envelope import chain_hash
from telemetry.log import EventLog, VerifyReport
from telemetry.log.lineage import Origin, lineage
from tests.contract.stores import Store, fill, held, note, notes

COLUMNS = [field.name for field in fields(Recorded) if field.name != "content"]


def event_at(log: EventLog, stream: str, version: int) -> Recorded:
    (event,) = log.read(stream, after=version - 1, to=version)
    return event


def pointing(log: EventLog, parent: str, at: int) -> Draft:
    """What begins a fork of `parent` at version `at`."""
    end = event_at(log, parent, at).hash.hex()
    return Draft(event=session.Forked(parent=parent, at_version=at, at_hash=end), command="fork")


def fork(log: EventLog, parent: str, at: int, stream: str, *, then: int = 0) -> list[Recorded]:
    """Forks, appends `then` more events, and returns the fork's own."""
    drafts = [pointing(log, parent, at), *notes(then, command="own", text=stream)]
    return list(log.append(stream, drafts, expected_version=at, epoch=1))


def ids(log: EventLog, stream: str) -> list[str]:
    return [event.id for event in log.read(stream)]


def named(report: VerifyReport) -> list[tuple[str, int, str]]:
    return [(problem.stream, problem.version, problem.what) for problem in report.problems]


@pytest.fixture
def family(log: EventLog) -> EventLog:
    """`a` of 10 events; `b` forked at 6 with 3 of its own; `c` forked from `b` at 8; `d` from `b` at 4, before `b`'s
    own; `e` from `b` at 6, just where `b`'s own begin. `a` and `b` go on after they were forked."""
    fill(log, "a", 8)
    fork(log, "a", 6, "b", then=2)
    fork(log, "b", 8, "c", then=1)
    fork(log, "b", 4, "d", then=1)
    fork(log, "b", 6, "e", then=1)
    log.append("a", notes(2, command="later"), expected_version=8, epoch=1)
    log.append("b", notes(1, command="later"), expected_version=9, epoch=1)
    return log


READS = {
    "a": [f"a@{version}" for version in range(1, 11)],
    "b": [*(f"a@{version}" for version in range(1, 7)), "b@7", "b@8", "b@9", "b@10"],
    "c": [*(f"a@{version}" for version in range(1, 7)), "b@7", "b@8", "c@9", "c@10"],
    "d": ["a@1", "a@2", "a@3", "a@4", "d@5", "d@6"],
    "e": [*(f"a@{version}" for version in range(1, 7)), "e@7", "e@8"],
}


@pytest.mark.parametrize("stream", READS)
def test_a_fork_of_a_fork_reads_as_the_pieces_put_together(family: EventLog, stream: str) -> None:
    whole = READS[stream]
    assert ids(family, stream) == whole
    assert [event.id for event in family.read_back(stream)] == whole[::-1]
    for after in range(len(whole) + 2):
        assert [event.id for event in family.read_back(stream, before=after)] == whole[: max(after - 1, 0)][::-1]
        for to in range(len(whole) + 2):
            assert [event.id for event in family.read(stream, after=after, to=to)] == whole[after:to]


def test_the_chain_of_a_fork_goes_on_from_the_event_it_was_cut_at(family: EventLog) -> None:
    for stream in READS:
        previous = bytes(32)
        for version, event in enumerate(family.read(stream), start=1):
            previous = chain_hash(previous, event.header(), event.digest)
            assert (event.version, event.hash) == (version, previous)
        head = family.head(stream)
        assert head is not None
        assert (head.version, head.hash) == (version, previous)
        assert family.verify(streams=[stream]).ok
    assert [head.stream for head in family.heads()] == list(READS)
    assert family.verify().ok


def test_only_the_asked_types_are_read_over_the_whole_lineage(family: EventLog) -> None:
    assert [event.id for event in family.read("c", types=["session.forked"])] == ["b@7", "c@9"]
    assert [event.id for event in family.read_back("c", types=["session.forked"], before=9)] == ["b@7"]
    assert [event.version for event in family.read("d", types=["learn.corrected"], after=3)] == [4, 6]


def test_a_shared_event_is_counted_once_by_who_reads_all_streams(family: EventLog) -> None:
    everything = [event.id for event in family.read_all()]
    assert len(everything) == len(set(everything)) == family.position() == 10 + 4 + 2 + 2 + 2
    assert set(everything) == {event for whole in READS.values() for event in whole}
    assert [event.id for event in family.subscribe().next(timeout_s=0).events] == everything


def test_an_origin_and_a_lineage_say_whose_events_stand_on_a_stream(family: EventLog) -> None:
    assert family.origin("a") is family.origin("nothing") is None
    assert family.origin("c") == Origin("b", 8, event_at(family, "b", 8).hash.hex())
    assert lineage(family.origin, "c", to=10) == (("c", 10), ("b", 8), ("a", 6))
    assert lineage(family.origin, "c", to=7) == (("c", 7), ("b", 7), ("a", 6))
    assert lineage(family.origin, "a", to=3) == (("a", 3),)


def test_parent_and_fork_go_on_without_each_other(log: EventLog) -> None:
    fill(log, "a", 5)
    fork(log, "a", 3, "b")
    log.append("b", notes(2, command="c4"), expected_version=4, epoch=7)  # a command and an epoch of its own
    log.append("a", notes(2, command="on"), expected_version=5, epoch=1)
    assert ids(log, "a") == [f"a@{version}" for version in range(1, 8)]
    assert ids(log, "b") == ["a@1", "a@2", "a@3", "b@4", "b@5", "b@6"]


def test_a_fork_over_many_pages_reads_whole(log: EventLog) -> None:
    fill(log, "a", 13, each=100)
    fork(log, "a", 1_200, "b", then=900)
    versions = list(range(1, 2_102))
    assert [event.version for event in log.read("b")] == versions
    assert [event.version for event in log.read_back("b")] == versions[::-1]


@pytest.mark.parametrize("seed", range(12))
def test_any_tree_of_forks_reads_as_lists_in_memory_would(store: Store, seed: int) -> None:
    chance, log = random.Random(seed), store.open()
    model = {"s0": [event.id for event in fill(log, "s0", 3)]}
    for step in range(40):
        stream = chance.choice(list(model))
        whole = model[stream]
        if chance.random() < 0.4:
            at, new = chance.randint(1, len(whole)), f"s{len(model)}"
            model[new] = whole[:at] + [event.id for event in fork(log, stream, at, new)]
        else:
            drafts = notes(chance.randint(1, 3), command=f"{step}")
            whole += [event.id for event in log.append(stream, drafts, expected_version=len(whole), epoch=1)]
    seal = log.seal()
    log.close()
    log = store.open(mode="read")
    for stream, whole in model.items():
        assert ids(log, stream) == whole
        assert log.verify(streams=[stream], seal=seal).ok
    assert log.verify(seal=seal).ok


# --- how a fork is made --------------------------------------------------------------------------


@pytest.mark.parametrize("expected_version", [0, 6, 99])
def test_the_same_fork_again_returns_its_first_result(log: EventLog, expected_version: int) -> None:
    fill(log, "a", 8)
    draft = pointing(log, "a", 6)
    first = log.append("b", [draft], expected_version=6, epoch=1)
    log.append("b", notes(2), expected_version=7, epoch=1)
    assert log.append("b", [draft], expected_version=expected_version, epoch=1) == first
    assert log.position() == 11


def test_the_same_command_cannot_fork_elsewhere(log: EventLog) -> None:
    fill(log, "a", 8)
    fork(log, "a", 6, "b")
    with pytest.raises(IdempotencyConflict):
        fork(log, "a", 7, "b")


@pytest.mark.parametrize(
    ("parent", "at", "text"),
    [
        ("a", 9, "no such event"),
        ("a", 0, "no such event"),
        ("a", -1, "no such event"),
        ("x", 6, "no such event"),
        ("new", 6, "no such event"),
        ("b", 8, "no such event"),
        ("a", 5, "its hash is"),
        ("b", 5, "its hash is"),
    ],
)
def test_a_fork_of_what_does_not_stand_is_refused(log: EventLog, parent: str, at: int, text: str) -> None:
    sixth = fill(log, "a", 8)[5].hash.hex()
    fork(log, "a", 6, "b")
    forked = session.Forked(parent=parent, at_version=at, at_hash=sixth)
    with pytest.raises(LogError, match=text) as caught:
        log.append("new", [Draft(event=forked, command="fork")], expected_version=at, epoch=1)
    assert "Nothing was appended" in str(caught.value)
    assert (log.head("new"), log.position()) == (None, 9)


def test_a_fork_is_numbered_from_where_it_was_cut(log: EventLog) -> None:
    fill(log, "a", 8)
    with pytest.raises(WrongExpectedVersion) as caught:
        log.append("b", [pointing(log, "a", 6)], expected_version=0, epoch=1)
    assert caught.value.found == 6


@pytest.mark.parametrize("expected_version", [3, 6])
def test_a_stream_that_has_events_cannot_become_a_fork(log: EventLog, expected_version: int) -> None:
    fill(log, "a", 8)
    fill(log, "b", 6)
    with pytest.raises(LogError, match="has events already"):
        log.append("b", [pointing(log, "a", 3)], expected_version=expected_version, epoch=1)
    assert log.verify().ok


def test_only_the_first_event_of_an_append_can_begin_a_fork(log: EventLog) -> None:
    fill(log, "a", 3)
    with pytest.raises(InvalidEvent, match="must be the first"):
        log.submit("b", [note(command="x"), pointing(log, "a", 3)], expected_version=0, epoch=1)


def test_a_refused_fork_leaves_the_rest_of_its_group_alone(log: EventLog) -> None:
    fill(log, "a", 3)
    draft = pointing(log, "a", 3)
    with held(log):
        made = log.submit("b", [draft], expected_version=3, epoch=1)
        more = log.submit("b", notes(2), expected_version=4, epoch=1)
        refused = log.submit("c", [draft], expected_version=2, epoch=1)
        other = log.submit("d", notes(1), expected_version=0, epoch=1)
    assert isinstance(refused.exception(), WrongExpectedVersion)
    assert [event.id for future in (made, more, other) for event in future.result()] == ["b@4", "b@5", "b@6", "d@1"]
    assert log.verify().ok


def test_a_fork_adds_as_many_rows_and_bytes_to_a_long_parent_as_to_a_short_one(log: EventLog) -> None:
    added: list[tuple[int, int]] = []
    for parent, length in (("a", 10), ("z", 5_000)):
        fill(log, parent, length // 10, each=10)
        before = log.position()
        fork(log, parent, length, f"of-{parent}")
        rows = list(log.read_all(after=before))
        added.append((len(rows), sum(len(row.payload) + len(row.header()) for row in rows)))
    (few, small), (many, large) = added
    assert few == many == 1
    assert large - small == 2 * len("00"), "the version is written twice, in two more digits"


# --- what verification finds ---------------------------------------------------------------------


def kin(store: Store) -> dict[str, list[Recorded]]:
    """The own events of `a`, of its fork `b` at 3, of `b`'s forks `c` at 5 and `d` at 2; the log is closed."""
    log = store.open()
    own = {"a": list(fill(log, "a", 5))}
    own["b"] = fork(log, "a", 3, "b", then=2)
    own["c"] = fork(log, "b", 5, "c", then=1)
    own["d"] = fork(log, "b", 2, "d", then=1)
    log.close()
    return own


def altered(value: object) -> object:
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return value + 1_000 if isinstance(value, int) else f"{value}x"


@pytest.mark.parametrize(
    ("stream", "version", "broken"),
    [
        ("a", 1, {"a": 0, "b": 0, "c": 0, "d": 0}),
        ("a", 3, {"a": 2, "b": 2, "c": 2}),
        ("a", 4, {"a": 3}),
        ("b", 5, {"b": 4, "c": 4}),
        ("b", 6, {"b": 5}),
    ],
)
def test_an_altered_event_is_found_from_every_stream_that_it_stands_on_and_from_no_other(
    store: Store, stream: str, version: int, broken: dict[str, int]
) -> None:
    own = kin(store)
    (event,) = (event for event in own[stream] if event.version == version)
    store.alter(event, "payload", b"{}")
    log = store.open(mode="read")
    report = log.verify()
    assert report.intact == broken
    assert (stream, version, "digest") in named(report)
    assert {problem.what for problem in report.problems if problem.stream != stream} <= {"parent"}
    for name in own:
        alone = log.verify(streams=[name])
        assert alone.ok == (name not in broken)
        assert alone.intact.get(name) == broken.get(name)


@pytest.mark.parametrize("column", COLUMNS)
def test_altering_any_column_of_the_event_that_makes_a_fork_is_found(store: Store, column: str) -> None:
    event = kin(store)["b"][0]
    store.alter(event, column, altered(getattr(event, column)))
    log = store.open(mode="read")
    report = log.verify()
    assert ("b", 4) in [place[:2] for place in named(report)] or column in ("stream", "version", "type")
    assert {stream for stream, *_ in named(report)} <= {"b", "bx", "c", "d", ""}
    assert "b" in report.intact
    assert not log.verify(streams=["b"]).ok
    assert log.verify(streams=["a"]).ok


def test_a_parent_that_was_cut_short_is_found_from_its_fork(store: Store) -> None:
    kin(store)
    store.delete("stream = 'a' AND version >= 3")
    log = store.open(mode="read")
    problem = log.verify(streams=["b"]).problems[0]
    assert (problem.stream, problem.version, problem.what) == ("b", 4, "parent")
    assert "a intact up to version 2 found, up to 3 expected" in str(problem)
    assert log.verify(streams=["d"]).ok


def test_a_parent_that_is_gone_is_found_and_its_fork_is_not_read_as_if_it_were_whole(store: Store) -> None:
    kin(store)
    store.delete("stream = 'a'")
    log = store.open(mode="read")
    assert log.verify(streams=["c"]).intact == {"b": 0, "c": 0}
    for reading in (log.read("c"), log.read_back("c")):
        with pytest.raises(LogDamaged, match="a, which is gone"):
            list(reading)
    assert [event.id for event in log.read("c", after=5)] == ["c@6", "c@7"]


def test_a_parent_that_was_rewritten_whole_is_found_by_its_fork_without_a_seal(store: Store) -> None:
    kin(store)
    store.delete("stream = 'a'")
    log = store.open()
    log.append("a", notes(5, text="a forged past"), expected_version=0, epoch=1)
    report = log.verify(streams=["b", "a"])
    assert named(report) == [("b", 4, "parent")]
    assert report.intact == {"b": 0}, "nothing shows which part is old"


def test_a_forged_pointer_is_no_way_to_make_verification_go_round_in_circles(store: Store) -> None:
    own = kin(store)
    round_about = b'{"at_hash":"%s","at_version":5,"parent":"c"}' % (b"0" * 64)
    store.alter(own["b"][0], "payload", round_about)
    log = store.open(mode="read")
    for report in (log.verify(), log.verify(streams=["c"]), log.verify(streams=["b", "d"])):
        assert {"b"} <= {stream for stream, *_ in named(report)} <= {"b", "c", "d"}


def test_a_seal_of_forks_holds_and_finds_a_cut_one(store: Store) -> None:
    kin(store)
    log = store.open()
    seal = log.seal()
    assert [head[:2] for head in seal.heads] == [("a", 5), ("b", 6), ("c", 7), ("d", 4)]
    log.append("a", notes(1, command="more"), expected_version=5, epoch=1)
    assert log.verify(seal=seal).ok
    assert log.verify(seal=seal, streams=["c"]).ok
    log.close()
    store.delete("stream = 'c' AND version = 7")
    assert named(store.open(mode="read").verify(seal=seal, streams=["c"])) == [("c", 7, "cut")]
