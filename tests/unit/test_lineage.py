"""The chain from a decision to what its model learnt from, and back: on a log of real sessions and a real model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.entry import MOST_REFS, entered
from runtime.errors import NotFound
from runtime.lineage.ask import walk, walk_model
from runtime.lineage.values import Node, edges, nodes
from runtime.retention import archive, prune
from telemetry.errors import EventsPruned
from telemetry.events import Draft, learn, split_id
from telemetry.events.values import EventId
from telemetry.log import open_log
from tests.local import Local
from tests.taught import ACTING, EXPLORE, LEARNT, MANY, Chain, taught, training_of
from tests.trained import line, trained


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("lineage")
    with closing(open_log(folder / "log.db")) as log:
        local = Local(log)
        yield taught(local, folder / "tiny")
        local.close()


def ids(root: Node, *how: str) -> set[str]:
    """What `root` leads to by links that are called so."""
    return {edge.after for edge in edges(root) if not how or edge.how in how}


def find(root: Node, id_: str) -> Node:
    return next(node for node in nodes(root) if node.id == id_)


# --- back -------------------------------------------------------------------------------------------


def test_a_decision_leads_to_its_model_the_verdict_the_training_and_the_sessions_that_taught_it(chain: Chain) -> None:
    decision = chain.decisions("act-0")[-1]
    root = chain.walk(decision)
    assert (root.id, root.kind) == (decision, "decision")
    assert ids(root, "acted by") == {chain.model}
    assert ids(root, "promoted by") == {chain.promoted}
    assert ids(root, "made by") == {chain.training}
    assert ids(root, "judged by") == {chain.evaluated}
    assert ids(root, "against") == {chain.base}
    assert ids(root, "learnt from") == {chain.end(f"teach-{number}") for number in range(LEARNT)}
    assert "error_over_copy 0.25" in find(root, chain.training).text
    assert "lower 1.25" in find(root, chain.promoted).text
    chose = next(links for links in root.links if links.how == "chose")
    assert split_id(chose.nodes[0].id)[0] == "session/act-0"


def test_a_session_is_its_last_decision_and_any_event_of_a_cycle_that_cycles(chain: Chain) -> None:
    first, *_, last = chain.decisions("act-0")
    assert chain.walk("act-0").id == chain.walk("session/act-0").id == last
    opening = next(r for r in chain.local.events("act-0", "session.cycle_opened"))
    assert chain.walk(opening.id).id == chain.walk(f"act-0@{opening.version}").id == first


def test_a_session_that_adopted_a_model_acts_by_it_from_then_on_and_not_before(chain: Chain) -> None:
    before, after = chain.decisions("late")[0], chain.decisions("late")[-1]
    assert ids(chain.walk(before), "acted by") == {chain.base}
    root = chain.walk(after)
    assert ids(root, "acted by") == {chain.model}
    (since,) = ids(root, "since")
    assert chain.local.events("late", "learn.model_adopted")[0].id == since


def test_an_event_outside_of_cycles_opens_with_what_the_session_acts_by(chain: Chain) -> None:
    root = chain.walk("session/act-0@1")
    assert (root.kind, ids(root, "acted by")) == ("event", {chain.model})


@pytest.mark.parametrize("kind", ["training", "evaluated", "promoted"])
def test_every_event_of_a_models_stream_begins_the_chain_there(chain: Chain, kind: str) -> None:
    event: EventId = getattr(chain, kind)
    assert chain.walk(event).id == event


def test_what_a_training_said_on_its_way_leads_to_its_end(chain: Chain) -> None:
    assert ids(chain.walk("model/tiny@1"), "ended as") == {chain.model}


def test_a_model_is_asked_about_by_its_name_or_the_first_digits_of_its_digest(chain: Chain) -> None:
    for which in ("tiny", chain.model, chain.model[:10]):
        for root in (walk_model(chain.log, which, shelf=lambda _: None, limit=3), chain.walk(which)):
            assert root.id == chain.model
            assert ids(root, "made by") == {chain.training}


def test_the_policy_of_a_scenario_opens_as_any_model(chain: Chain) -> None:
    root = chain.walk(chain.base)
    assert "the scenario explore itself" in root.text
    assert chain.evaluated in ids(root, "named by")


# --- every link opens, and both ways are one --------------------------------------------------------


def test_every_id_that_is_printed_opens_both_ways(chain: Chain) -> None:
    seen: set[str] = set()
    waiting = [chain.decisions("act-0")[-1], "session/teach-0"]
    while waiting:
        what = waiting.pop()
        if what in seen:
            continue
        seen.add(what)
        for forward in (False, True):
            root = chain.walk(what, forward=forward, limit=2)
            waiting += [node.id for node in nodes(root) if not node.missing]
    assert {chain.model, chain.base, chain.training, chain.evaluated, chain.promoted} <= seen


def test_a_session_is_found_from_a_decision_exactly_when_the_decision_is_found_from_it(chain: Chain) -> None:
    names = [head.stream for head in chain.log.heads(prefix="session/", limit=MANY)]
    for teacher in names:
        ahead = ids(chain.walk(teacher, forward=True), "acted in", "judged in")
        for acted in names:
            back = any(
                split_id(end)[0] == teacher
                for decision in chain.decisions(acted.removeprefix("session/"))
                for end in ids(chain.walk(decision), "learnt from")
            )
            assert back == any(split_id(first)[0] == acted for first in ahead), (teacher, acted)


def test_what_a_session_did_after_it_was_read_taught_nobody(chain: Chain) -> None:
    end = chain.end("teach-0")
    assert ids(chain.walk(end, forward=True), "learnt from by") == {chain.training}
    chain.local.append("teach-0", Draft(event=learn.Corrected(retry_of=end, why="again"), command="more"))
    later = chain.end("teach-0")
    assert later != end
    assert not chain.walk(later, forward=True).links


def test_of_many_sessions_the_first_are_named_and_all_are_counted(chain: Chain) -> None:
    root = chain.walk(chain.training, limit=2)
    (sessions,) = root.links
    assert (sessions.how, len(sessions.nodes), sessions.count) == ("learnt from", 2, LEARNT)
    (made,) = chain.walk(chain.training, forward=True, limit=1).links
    acts = next(links for links in made.nodes[0].links if links.how == "acted in")
    assert (len(acts.nodes), acts.count) == (1, ACTING + 3)  # two were judged, and one adopted it


# --- what is missing is said at its place -----------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Chain]:
    """A chain that a test may change."""
    with closing(open_log(tmp_path / "log.db")) as log:
        local = Local(log)
        yield taught(local, tmp_path / "tiny")
        local.close()


def test_a_session_that_was_archived_and_removed_is_named_with_its_archive(own: Chain, tmp_path: Path) -> None:
    end, other = own.end("teach-0"), own.end("teach-1")
    list(archive(own.log, ["teach-0"], tmp_path / "old"))
    prune(own.log, "teach-0", tmp_path / "old")
    root = own.walk(own.decisions("act-0")[-1])
    gone = find(root, end)
    assert gone.missing
    assert "aether log import" in gone.text
    assert not find(root, other).missing
    with pytest.raises(EventsPruned):
        own.walk(end)


def test_a_decision_stands_although_the_beginning_of_its_session_is_gone(own: Chain, tmp_path: Path) -> None:
    closed = own.local.events("act-0", "session.cycle_closed")
    last = own.decisions("act-0")[-1]
    list(archive(own.log, ["act-0"], tmp_path / "old"))
    prune(own.log, "act-0", tmp_path / "old", to=closed[-3].version)
    root = own.walk(last)
    assert root.id == last
    assert any(links.how == "chose" for links in root.links)
    (acted,) = (links.nodes[0] for links in root.links if links.how == "acted by")
    assert acted.missing
    assert "archived and removed" in acted.text


def test_a_training_of_another_place_names_what_is_not_on_this_log(chain: Chain, tmp_path: Path) -> None:
    with closing(open_log(tmp_path / "other.db")) as log:
        entered(log, training_of("maze@0123456789ab", 7), refs=("session/elsewhere@9",), run="far")
        root = walk(log, "model/maze@1", shelf=lambda _: None, limit=3)
    (elsewhere,) = (node for node in nodes(root) if node.missing)
    assert elsewhere.id == "session/elsewhere@9"
    assert "of the log of another place" in elsewhere.text


def test_a_model_of_which_the_log_says_nothing_is_said_to_be_so(chain: Chain, tmp_path: Path) -> None:
    folder = tmp_path / "stranger"
    model = trained(folder, seed=5)
    chain.local.run("stranger", line(folder).replace("episodes = 9", "episodes = 1"), cycles=1)
    root = chain.walk("stranger")
    assert find(root, model).missing
    assert "does not say how" in find(root, model).text


def test_more_sessions_than_an_event_names_are_found_by_its_range_both_ways(tmp_path: Path) -> None:
    with closing(open_log(tmp_path / "log.db")) as log:
        local = Local(log)
        for number in range(2):
            local.run(f"teach-{number}", EXPLORE, seed=number)
        training = entered(log, training_of("maze@0123456789ab", log.position()), refs=(), run="t")
        local.run("after", EXPLORE, seed=9)
        (sessions,) = walk(log, training, shelf=lambda _: None, limit=MANY).links
        assert ([node.id for node in sessions.nodes], sessions.count) == (["session/teach-0", "session/teach-1"], 2)
        assert "by its range of the log" in sessions.said
        for name, taught in (("teach-0", {training}), ("after", set[str]())):
            assert ids(walk(log, name, shelf=lambda _: None, limit=3, forward=True), "learnt from by") == taught
        local.close()
    assert MOST_REFS == 1000


# --- what is not there ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("session/act-1@9999", "the last of session/act-1 is session/act-1@"),
        ("act-x", "did you mean 'act-"),
        ("model/tony@1", "did you mean 'model/tiny'"),
        ("tiny@ffffffffffff", "known here: .*tiny@"),
        ("tiny2", "did you mean 'tiny'"),
        ("session/act-1@0", "no event"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(chain: Chain, asked: str, says: str) -> None:
    with pytest.raises(NotFound, match=says):
        chain.walk(asked)
