"""What other processes want written in a log whose host is live is written by that host."""

from __future__ import annotations

import json
import signal
from contextlib import closing

from runtime.fork import cut_before
from telemetry.log import open_log
from tests.aether import Aether, position, wait_until

ENDLESS = """\
name = "endless"
seed = 5
[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
episodes = 100000
"""
LEARNABLE = 6000
"""Events in which there are transitions enough for a model: a cycle has some twenty."""
PLAYBOOK = """\
name = "calm"
prompt = "Breathe first."
"""


def test_a_session_is_forked_a_playbook_laid_down_and_a_training_entered_while_their_host_runs(
    attached: Aether,
) -> None:
    endless, calm = attached.folder / "endless.toml", attached.folder / "calm.toml"
    endless.write_text(ENDLESS)
    calm.write_text(PLAYBOOK)
    with attached.start("run", str(endless), "--json") as started:
        wait_until(lambda: position(attached.log) > LEARNABLE, what="the session is under way")
        with closing(open_log(attached.log, mode="read")) as log:
            (head,) = log.heads(prefix="session/")
            parent, at = head.stream.removeprefix("session/"), cut_before(log, head.stream, head.version)
        forked = attached("session", "fork", parent, "--at", str(at), "--json")
        elsewhere = attached("session", "fork", parent, "--at", str(at - 1))
        nobody = attached("session", "fork", "nobody", "--at", "1")
        laid = [attached("playbook", "add", str(calm), "--json") for _ in range(2)]
        trained = attached("train", "world-model", "live", "--kind", "linear", "--json")
        assert started.running, "the host was not disturbed"
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert forked.code == 0, forked.err
    assert (elsewhere.code, nobody.code) == (2, 3), "what is refused is refused as it is without a host"
    assert "a fork begins at a closed cycle" in elsewhere.err
    assert [added.json["new"] for added in laid] == [True, False]
    assert trained.code == 0, trained.err
    assert trained.json["event"] == "model/live@1"
    (row,) = forked.rows
    sessions = {each["session"]: each for each in attached("session", "list", "--json").rows}
    assert sessions[row["session"]]["version"] == at + 1
    assert json.loads(ended.out)["rows"][0]["session"] == parent
    assert sessions[parent]["version"] > at + 1, "the parent went on"
    assert attached("log", "verify").code == 0
