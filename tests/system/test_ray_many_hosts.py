"""Several session hosts on one PostgreSQL log: sessions are spread over them, and go on where a host was killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runtime.entry import enter
from telemetry.events import execute, learn
from telemetry.log import open_log
from tests import many, postgres
from tests.aether import Aether, wait_until
from tests.clusters import Head, Nodes, actors_in
from tests.errands import SCENARIO, policy
from tests.model_server import ModelServer
from tests.planned import PLANNING
from tests.trained import trained

PAYING = 20
PATIENT = """
[timeouts]
execute_s = 600
"""
"""A payment is held back until hosts have come again."""


@pytest.fixture
def url(server: postgres.Server) -> Iterator[str]:
    """An empty log on the tests' server."""
    place = server.schema()
    yield place
    postgres.drop(place)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.always = policy
        yield running


def test_several_hosts_on_sqlite_are_refused_with_the_reason(aether: Aether) -> None:
    ran = aether("run", "examples/maze.toml", env={"AETHER_HOSTS": "2"})
    assert ran.code == 2
    assert "a SQLite log belongs to one host on one machine" in ran.err
    assert not aether.log.exists()


def test_more_hosts_than_the_cluster_has_room_for_are_refused_with_what_is_missing(attached: Aether, url: str) -> None:
    with many.started(attached, url, sessions=20, cycles=5, hosts=20) as running:
        ran = running.end()
    assert ran.code == 6
    assert "20 session hosts ask for 20 CPUs" in ran.out + ran.err
    assert many.position(url) == 0


def test_sessions_on_two_hosts_end_as_on_one(attached: Aether, url: str) -> None:
    calm = many.calm(attached, sessions=4, cycles=25)
    with many.started(attached, url, sessions=4, cycles=25) as running:
        spread = running.end()
    assert spread.code == 0, spread.err
    assert spread.json["summary"]["hosts"] == 2
    assert [row["state_hash"] for row in spread.rows] == [row["state_hash"] for row in calm]
    assert [many.recalled(url, row) for row in spread.rows] == [
        many.recalled(attached.folder / "calm.db", row) for row in calm
    ]
    owners = [many.owners(url, row)[0] for row in spread.rows]
    assert sorted(map(owners.count, set(owners))) == [2, 2], "each host had as many"


def test_sessions_of_a_killed_host_go_on_at_the_other_and_end_undisturbed(
    attached: Aether, head: Head, url: str
) -> None:
    calm = many.calm(attached, sessions=20, cycles=40)
    with many.started(attached, url, sessions=20, cycles=40) as running:
        deaths = many.strike(url, 4, lambda: head.actors("SessionHost"), random.Random(3))
        struck = running.end(timeout_s=many.BOUND_S)
    assert struck.code == 0, struck.err
    assert [row["state_hash"] for row in struck.rows] == [row["state_hash"] for row in calm]
    assert sum(many.check_moves(url, row, deaths) for row in struck.rows) >= 10, "each had about half of the sessions"
    many.check_whole(url)


def test_each_host_has_pools_of_its_own_and_they_end_with_it(attached: Aether, head: Head, url: str) -> None:
    calm = many.calm(attached, sessions=6, cycles=40, scenario=many.POOLS)
    with many.started(attached, url, sessions=6, cycles=40, hosts=None, scenario=many.POOLS) as running:
        many.reach(url, 15 * many.EVENTS_A_CYCLE)
        wait_until(  # eight CPUs, and a host takes two with its pool
            lambda: (len(head.actors("SessionHost")), len(head.actors("PhaseActor"))) == (4, 4),
            timeout_s=many.BOUND_S,
            what="four hosts with a pool each",
        )
        os.kill(head.actors("SessionHost")[0], signal.SIGKILL)
        struck = running.end(timeout_s=many.BOUND_S)
    assert struck.code == 0, struck.err
    assert struck.json["summary"]["hosts"] == 4
    assert [row["state_hash"] for row in struck.rows] == [row["state_hash"] for row in calm]
    wait_until(lambda: not head.actors("PhaseActor"), what="the pools are gone with their hosts")
    many.check_whole(url)


def test_an_interrupted_run_rests_on_every_host_and_resume_all_goes_on(attached: Aether, url: str) -> None:
    calm = many.calm(attached, sessions=4, cycles=200)
    with many.started(attached, url, sessions=4, cycles=200) as running:
        many.owned(url, 4)  # one host may begin seconds after the other
        running.signal_group(signal.SIGINT)
        rested = running.end(timeout_s=many.BOUND_S)
    assert rested.code == 130, rested.err
    assert {row["status"] for row in rested.rows} == {"suspended"}
    two = {"AETHER_HOSTS": "2"}
    ended = attached("session", "resume", "--all", "--log", url, "--json", timeout_s=many.BOUND_S, env=two)
    assert ended.code == 0, ended.err
    assert ended.json["summary"]["hosts"] == 2
    ends = {row["session"]: row["state_hash"] for row in ended.rows}
    assert [ends[row["session"]] for row in rested.rows] == [row["state_hash"] for row in calm]


def test_what_is_promoted_reaches_the_sessions_of_every_host(
    attached: Aether, url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model = trained(folder, "gymnasium:PointMaze_UMaze-v3")
    name, _, digest = model.partition("@")
    shutil.copytree(folder, attached.folder / "home" / "models" / name / digest)
    scenario = f'{many.MAZE}[learning]\nmodel = "{name}"\n[reasoner]\n{PLANNING}\n'
    with many.started(attached, url, sessions=4, cycles=100_000, scenario=scenario) as running:
        many.owned(url, 4)
        enter(url, learn.ModelPromoted(model=model, figures={}), run="p")
        wait_until(lambda: many.counted(url, "learn.model_adopted") == 4, timeout_s=many.BOUND_S, what="adoptions")
        running.signal_group(signal.SIGINT)
        assert running.end(timeout_s=many.BOUND_S).code == 130
    with closing(open_log(url, mode="read")) as log:
        owners = {recorded.stream: recorded for recorded in log.read_all(types=("execute.dispatched",))}
        executors = {r.event.executor for r in owners.values() if isinstance(r.event, execute.Dispatched)}
        adopted = [r.stream for r in log.read_all(types=("learn.model_adopted",))]
    assert len(executors) == 2, "the sessions were on two hosts"
    assert sorted(adopted) == sorted(owners), "each took it up once"


def test_a_memory_that_is_killed_again_and_again_brings_back_the_same(attached: Aether, head: Head, url: str) -> None:
    calm = many.calm(attached, sessions=4, cycles=60)
    killed: set[int] = set()

    def others() -> set[int]:
        return set(head.actors("MemoryActor")) - killed

    with many.started(attached, url, sessions=4, cycles=60) as running:
        for kill in range(1, 4):
            many.reach(url, kill * 15 * many.EVENTS_A_CYCLE)
            wait_until(lambda: bool(others()), timeout_s=many.BOUND_S, what="a memory to kill")
            (victim,) = others()
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        struck = running.end(timeout_s=many.BOUND_S)
    assert struck.code == 0, struck.err
    assert [row["state_hash"] for row in struck.rows] == [row["state_hash"] for row in calm]
    assert [many.recalled(url, row) for row in struck.rows] == [
        many.recalled(attached.folder / "calm.db", row) for row in calm
    ]


def test_no_payment_is_made_twice_where_the_hosts_are_killed_while_they_pay(
    aether: Aether, url: str, model: ModelServer
) -> None:
    till = aether.folder / "till"
    hold = Path(f"{till}.hold")
    hold.touch()
    file = aether.folder / "errands.toml"
    file.write_text(SCENARIO.format(url=model.url, errand="pay") + PATIENT, encoding="utf-8")
    command = ("run", str(file), "--sessions", str(PAYING), "--log", url, "--json")
    killed: set[int] = set()

    def paying() -> int | None:
        """The host that paid last: a moment after the log says that it is under way."""
        pid = Path(f"{till}.pid")
        return int(pid.read_text()) if pid.exists() else None

    with aether.start(*command, env={"TILL": str(till), "AETHER_HOSTS": "2"}) as running:
        for sent in (PAYING, 2 * PAYING - PAYING // 2, 3 * PAYING - PAYING // 2):
            _sent(url, sent)
            wait_until(lambda: paying() not in {None, *killed}, timeout_s=many.BOUND_S, what="a living host pays")
            victim = paying()
            assert victim is not None
            assert victim in actors_in(aether.folder, "SessionHost")
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        hold.unlink()
        ran = running.end(timeout_s=many.BOUND_S)
    assert ran.code == 0, ran.err
    assert [row["outcome"] for row in ran.rows] == ["done"] * PAYING
    lines = till.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines)) == PAYING, "each was paid once"
    many.check_whole(url)


def _sent(url: str, goal: int) -> None:
    """Waits until so many payments were attempted."""

    def count() -> int:
        if many.position(url) == 0:
            return 0
        with closing(open_log(url, mode="read")) as log:
            return sum(1 for _ in log.read_all(types=("execute.dispatched",)))

    wait_until(lambda: count() >= goal, timeout_s=many.BOUND_S, what=f"{goal} payments under way")


def test_sessions_of_a_node_that_is_lost_go_on_at_another(aether: Aether, nodes: Nodes, url: str) -> None:
    calm = many.calm(aether, sessions=6, cycles=60)
    lost = nodes.add(cpus=1)
    aether.attach(nodes)
    with many.started(aether, url, sessions=6, cycles=60) as running:
        wait_until(
            lambda: any(lost.id in owner for _, owner in many.acted(url)),
            timeout_s=many.BOUND_S,
            what="the hosts are spread over the nodes, and that one is at work",
        )
        nodes.kill(lost)
        struck = running.end(timeout_s=many.BOUND_S)
    assert struck.code == 0, struck.err
    assert [row["state_hash"] for row in struck.rows] == [row["state_hash"] for row in calm]
    moved = [owners for row in struck.rows if len(owners := many.owners(url, row)) > 1]
    assert moved
    for first, second in moved:
        assert lost.id in first
        assert nodes.head.id in second
    many.check_whole(url)


def test_a_host_that_was_stopped_while_another_took_its_session_up_writes_nothing_more(
    attached: Aether, url: str
) -> None:
    with many.started(attached, url, sessions=2, cycles=200) as running:
        owned = many.owned(url, 2)
        first, owner = owned[0]
        with _stopped(*(host for _, host in owned)):
            left = attached("session", "resume", "--all", "--log", url, "--json")
            taken = attached("session", "resume", first["session"], "--log", url, "--json", timeout_s=many.BOUND_S)
        ended = running.end(timeout_s=many.BOUND_S)
    assert (left.code, left.rows) == (0, []), "what is at work is not taken from its host unless it is named"
    assert "2 sessions are at work at living hosts" in left.err
    assert taken.code == 0, taken.err
    assert ended.code == 6, ended.err
    (error,) = ended.json["errors"]
    before, after = many.owners(url, first)
    assert before == owner
    assert after in error, "it is told who has the session now"
    assert {row["status"] for row in ended.rows} == {"closed"}
    many.check_whole(url)


@contextmanager
def _stopped(*owners: str) -> Iterator[None]:
    """Hosts that do nothing meanwhile, and live."""
    for owner in owners:
        os.kill(many.pid(owner), signal.SIGSTOP)
    try:
        yield
    finally:
        for owner in owners:
            os.kill(many.pid(owner), signal.SIGCONT)
