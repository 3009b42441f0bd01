"""A fleet: one Ray and one host for several runs, between which the log is read and written."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing

from telemetry.events import execute
from telemetry.log import open_log
from tests.aether import ROOT, RUN_TIMEOUT_S, Aether

TURNS = """\
import json, sys
from contextlib import closing
from pathlib import Path

from runtime.learning.fleet import Fleet
from runtime.entry import enter
from runtime.run import new_orders
from runtime.scenario import read_scenario
from runtime.settings import read_settings
from telemetry.events.learn import ModelRejected
from telemetry.log import open_log

file = read_scenario(Path(sys.argv[1]))
turns = []
with Fleet(read_settings().settings) as fleet:
    for seed in (1, 2):
        orders = new_orders(file, sessions=2, cycles=3, seed=seed)
        ran = fleet.run(orders, watch=lambda status: None)
        assert [row.session for row in ran.rows] == [order.session for order in orders]
        said = ModelRejected(model="maze@0", incumbent="greedy@0", figures={}, why="not better")
        entered = enter(fleet.url, said, refs=(), run=str(seed))
        with closing(open_log(fleet.url, mode="read")) as log:
            beside = log.position()
        turns.append([ran.exit_code, list(ran.errors), [row.status for row in ran.rows], entered, beside])
print(json.dumps({"turns": turns}))
"""


def test_sessions_and_the_words_between_them_take_turns_on_one_host(attached: Aether) -> None:
    ran = subprocess.run(
        (sys.executable, "-c", TURNS, "examples/maze.toml"),
        env=attached.env | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert [turn[:4] for turn in answer["turns"]] == [
        [0, [], ["closed", "closed"], "model/maze@1"],
        [0, [], ["closed", "closed"], "model/maze@2"],
    ]
    with closing(open_log(attached.log)) as log:  # its lock is free again
        sent = [event.event for event in log.read_all(types=("execute.dispatched",))]
        assert len({one.executor for one in sent if isinstance(one, execute.Dispatched)}) == 1, "one host had them all"
        assert len(log.heads(prefix="session/")) == 4
        assert [answer["turns"][0][4] < event.position for event in log.read("model/maze")] == [False, True]
