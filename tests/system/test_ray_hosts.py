"""How much a session host takes, who may hold a log, and what stays when a run is over."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from loops.state import state_hash
from runtime.hosting.cluster import remove
from telemetry.log import open_log
from tests.aether import ROOT, RUN_TIMEOUT_S, Aether, position, processes_naming, wait_until
from tests.clusters import Head
from tests.local import folded

MAZE = "examples/maze.toml"
ENDLESS = """\
name = "endless"
seed = 5
[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
episodes = 100000
"""


def test_the_second_host_on_a_log_is_exit_6_and_names_the_first(attached: Aether) -> None:
    endless = attached.folder / "endless.toml"
    endless.write_text(ENDLESS)
    with attached.start("run", str(endless)) as first:
        wait_until(lambda: position(attached.log) > 10, what="the first host writes")
        holder = attached.log.with_name("aether.db.lock").read_text().split()[1]
        second = attached("run", MAZE, "--sessions", "1")
        answer = attached("run", MAZE, "--sessions", "1", "--json")
        assert f"pid {holder}" in attached("doctor").out
        first.signal_group(signal.SIGINT)
        assert first.end().code == 130, "the first was not disturbed"
    assert second.code == 6
    assert f"pid {holder} on {socket.gethostname()}" in second.err
    assert "Traceback" not in second.err
    assert answer.json["error"]["exit_code"] == 6
    sessions = attached("session", "list", "--json").rows
    assert len(sessions) == 1, "the second left nothing behind"


def test_a_run_feeds_more_sessions_than_the_host_takes_one_after_the_other(attached: Aether) -> None:
    ran = attached("run", MAZE, "--sessions", "3", "--cycles", "5", "--json", env={"AETHER_MAX_SESSIONS": "1"})
    assert ran.code == 0, ran.err
    assert [(row["status"], row["cycles"]) for row in ran.rows] == [("closed", 5)] * 3
    with closing(open_log(attached.log, mode="read")) as log:
        streams = [event.stream for event in log.read_all()]
    changes = sum(one != other for one, other in itertools.pairwise(streams))
    assert changes == 2, "no two sessions ran at once"


def test_an_interrupted_run_says_how_many_sessions_had_not_begun(attached: Aether) -> None:
    endless = attached.folder / "endless.toml"
    endless.write_text(ENDLESS)
    with attached.start("run", str(endless), "--sessions", "3", env={"AETHER_MAX_SESSIONS": "1"}) as started:
        wait_until(lambda: position(attached.log) > 10, what="the first session runs")
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code == 130
    assert "2 sessions had not begun" in ended.err


BEYOND_ITS_BOUND = """\
import json, sys
from pathlib import Path

import ray

from runtime.hosting.cluster import connected
from runtime.errors import Backpressure
from runtime.hosting.hosts import Hosts
from runtime.run import new_orders
from runtime.scenario import read_scenario
from runtime.settings import read_settings

settings = read_settings().settings
orders = new_orders(read_scenario(Path(sys.argv[1])), sessions=2)
with connected(settings):
    host = Hosts(settings)
    first = host.start(orders[0])
    while (status := host.status()) is None or status.running == 0:
        pass
    same = host.start(orders[0])
    crowd, crowded = [], None
    while crowded is None:
        try:
            crowd.append(host.start(orders[1]))
        except Backpressure as error:
            crowded = str(error)
    said = []
    for call in [*crowd, None]:
        try:
            ray.get(call or host.start(orders[1]), timeout=120)
        except Backpressure as error:
            said.append(str(error))
    host.suspend()
    rows = ray.get([first, same], timeout=120)
    host.close()
answer = {"said": said, "crowd": len(crowd), "crowded": crowded, "refused": orders[1].session}
print(json.dumps(answer | {"rows": [row.model_dump() for row in rows]}))
"""


def test_a_direct_call_beyond_the_bound_is_answered_with_backpressure(attached: Aether) -> None:
    endless = attached.folder / "endless.toml"
    endless.write_text(ENDLESS)
    ran = subprocess.run(
        (sys.executable, "-c", BEYOND_ITS_BOUND, str(endless)),
        env=attached.env | {"AETHER_MAX_SESSIONS": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert "this one was not made" in answer["crowded"]
    assert answer["crowd"] >= 63, "what waits for the host has a bound too"
    assert len(answer["said"]) == answer["crowd"] + 1, "the calls before that were answered, and one after it"
    assert all("its bound is 1" in said for said in answer["said"])
    assert all(f"{answer['refused']} was not started" in said for said in answer["said"])
    assert answer["rows"][0] == answer["rows"][1], "the same order again joins the run under way"
    assert answer["rows"][0]["status"] == "suspended"
    with closing(open_log(attached.log, mode="read")) as log:
        assert len(log.heads()) == 1


NULL = """\
name = "null"
environment = { id = "null:" }
reasoner = { kind = "explore" }
world_model = { kind = "none" }
memory = { when = "never", recall = 0 }
"""
MANY = 1000
EVENTS_A_CYCLE = 14


def test_a_thousand_sessions_are_live_at_once_in_one_host_and_all_end_right(attached: Aether) -> None:
    file = attached.folder / "null.toml"
    file.write_text(NULL)
    with attached.start("run", str(file), "--sessions", str(MANY), "--json") as started:
        wait_until(lambda: _under_way(attached) == MANY, what="every session has closed a cycle")
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code == 130
    rows = json.loads(ended.out)["rows"]
    assert len(rows) == MANY
    assert {row["status"] for row in rows} == {"suspended"}
    assert min(row["cycles"] for row in rows) >= 1
    with closing(open_log(attached.log, mode="read")) as log:
        opened = [event.position for event in log.read_all(types=("session.opened",))]
        rested = [event.position for event in log.read_all(types=("session.suspended",))]
        assert len(opened) == len(rested) == MANY
        assert max(opened) < min(rested), "all of them were live at once"
        for row in rows[:: MANY // 10]:
            assert state_hash(folded(list(log.read(f"session/{row['session']}")))) == row["state_hash"]
    assert attached("log", "verify").code == 0


def _under_way(aether: Aether) -> int:
    """How many sessions have events beyond their first cycle."""
    if position(aether.log) < MANY:
        return 0
    with closing(open_log(aether.log, mode="read")) as log:
        return sum(head.version > 1 + EVENTS_A_CYCLE for head in log.heads(prefix="session/", limit=MANY))


def test_a_host_that_its_world_kills_again_and_again_gives_up(aether: Aether) -> None:
    (aether.folder / "deadly.py").write_text(DEADLY)
    file = aether.folder / "deadly.toml"
    file.write_text('name = "deadly"\n[environment]\nid = "gymnasium:deadly:Deadly-v0"\n')
    ran = aether("run", str(file), env={"PYTHONPATH": str(aether.folder)})
    assert ran.code == 6
    assert "times in a row before anything came of it" in ran.err
    assert "Traceback" not in ran.err
    assert aether("log", "verify").code == 0
    (row,) = aether("session", "list", "--json").rows
    assert (row["status"], row["cycles"]) == ("open", 2)


DEADLY = """\
import os

import gymnasium
from gymnasium.spaces import Discrete


class Deadly(gymnasium.Env):
    observation_space = action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return 0, {}

    def step(self, action):
        self.steps += 1
        if self.steps == 3:
            os.kill(os.getpid(), 9)
        return 0, 0.0, False, False, {}


gymnasium.register("Deadly-v0", Deadly)
"""


def test_a_run_that_is_over_leaves_no_process_and_no_folder(aether: Aether) -> None:
    ran = aether("run", MAZE, "--sessions", "1", "--cycles", "3")
    assert ran.code == 0
    wait_until(lambda: not processes_naming(str(aether.folder)), what="the local Ray is gone")
    assert list(aether.folder.glob("aether-*")) == []
    assert "WARNING" not in ran.err
    assert "ray" not in ran.err.lower()


def test_a_folder_that_ray_writes_in_to_the_last_is_gone_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, really, late = tmp_path / "aether-ray", shutil.rmtree, ["raylet.err", "worker.out"]
    (folder / "logs").mkdir(parents=True)

    def rmtree(path: str, *, ignore_errors: bool) -> None:
        really(path, ignore_errors=ignore_errors)
        if late:  # from a process that ends a moment later
            (folder / "logs").mkdir(parents=True)
            (folder / "logs" / late.pop()).touch()

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    remove(str(folder))
    assert not folder.exists()


def test_a_run_on_a_cluster_gives_back_what_it_held(attached: Aether, head: Head) -> None:
    before = set(head.actors("SessionHost"))
    assert attached("run", MAZE, "--sessions", "1", "--cycles", "3").code == 0
    wait_until(lambda: set(head.actors("SessionHost")) <= before, what="the session host is gone")


@pytest.mark.slow
def test_three_hundred_sessions_go_through_a_host_of_seven(attached: Aether) -> None:
    ran = attached("run", MAZE, "--sessions", "300", "--cycles", "3", "--json", env={"AETHER_MAX_SESSIONS": "7"})
    assert ran.code == 0, ran.err
    assert {(row["status"], row["cycles"]) for row in ran.rows} == {("closed", 3)}
