"""`aether chaos` as a user runs it: real processes, killed at real commits, and tools whose work can be counted."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from examples.refund.endpoint import MODEL, running
from tests.aether import Aether, Ran, processes_naming, wait_until
from tests.errands import SCENARIO, policy
from tests.model_server import ModelServer

ZERO = {"acknowledged_lost": 0, "effects_twice": 0, "effects_lost": 0, "differs": 0}
SHOP = f"{sys.executable} -m examples.refund.shop --ledger"
POOL = """
[placement]
reason = "tools"
execute = "tools"
[pools.tools]
cpus = 0.5
"""
TILL = """sh -c 'test ! -e "$TILL" || cat "$TILL"'"""


def totals(ran: Ran) -> dict[str, Any]:
    found = ran.json["totals"]
    assert isinstance(found, dict)
    return found


def errand(folder: Path, server: ModelServer, what: str, *, tools: str) -> str:
    file = folder / "errand.toml"
    text = SCENARIO.format(url=server.url, errand=what)
    assert "tests.till" in text
    file.write_text(text.replace("tests.till", tools), encoding="utf-8")
    return str(file)


def wait_for(aether: Aether, file: str) -> None:
    """Until there is such a file in the world that is killed."""

    def there() -> bool:
        with suppress(FileNotFoundError):  # the world was emptied while it was looked at
            return any(aether.folder.glob(f"aether-chaos-*/world/{file}"))
        return False

    wait_until(there, what=f"{file} in a world")


def test_a_world_killed_at_some_of_its_commits_loses_and_repeats_nothing(aether: Aether) -> None:
    ran = aether("chaos", "examples/lava.toml", "--cycles", "5", "--sample", "6", "--json")
    assert ran.code == 0, ran.out + ran.err
    assert totals(ran).items() >= {**ZERO, "killed": 6, "unknown": 0}.items()
    assert totals(ran)["boundaries"] > 6
    assert not list(aether.folder.glob("aether-chaos-*"))
    assert not aether.log.exists(), "the user's own log is left alone"


def test_refunds_killed_at_some_of_their_commits_are_made_once(aether: Aether) -> None:
    with running() as endpoint:
        env = {"OPENAI_BASE_URL": endpoint.url, "AETHER_MODEL": MODEL, "OPENAI_API_KEY": "none"}
        command = ("chaos", "examples/refund.toml", "--sample", "5", "--fresh", "SHOP_DB", "--ledger", SHOP, "--json")
        ran = aether(*command, env=env)
    assert ran.code == 0, ran.out + ran.err
    assert totals(ran).items() >= {**ZERO, "killed": 5}.items()
    assert ran.json["undisturbed"]["status"] == "waiting", "the bicycle waits for a person"


def test_a_tool_that_calls_itself_keyed_and_forgets_its_keys_is_found_out(aether: Aether) -> None:
    with ModelServer(always=policy) as server:
        scenario = errand(aether.folder, server, "pay", tools="tests.forgetful")
        ran = aether("chaos", scenario, "--fresh", "TILL", "--ledger", TILL)
    assert ran.code == 4, ran.out + ran.err
    counted = {line[:26].strip(): int(line[26:]) for line in ran.out.splitlines()[2:9]}
    assert counted["effects done twice"] > 0
    assert counted["acknowledged events lost"] == counted["effects lost"] == counted["ended otherwise"] == 0
    assert counted["killed at"] == counted["commit boundaries"] > 0
    assert "done twice: 'pay bob 3" in ran.err


def test_hosts_and_their_pools_killed_through_ray_lose_and_repeat_nothing(aether: Aether) -> None:
    with ModelServer(always=policy) as server:
        scenario = Path(errand(aether.folder, server, "pay", tools="tests.till"))
        scenario.write_text(f"{scenario.read_text(encoding='utf-8')}{POOL}", encoding="utf-8")
        kills = ("--sample", "2", "--ray", "2")
        ran = aether("chaos", str(scenario), *kills, "--fresh", "TILL", "--ledger", TILL, "--json")
    assert ran.code == 0, ran.out + ran.err
    assert totals(ran).items() >= {**ZERO, "killed": 2}.items()
    through_ray = ran.json["ray"]
    assert through_ray["totals"].items() >= {**ZERO, "killed": 2}.items()
    assert through_ray["undisturbed"]["state_hash"] == ran.json["undisturbed"]["state_hash"]
    assert ran.err == ""
    assert not list(aether.folder.glob("aether-*"))


def test_ctrl_c_while_hosts_are_killed_ends_their_ray_and_removes_what_it_wrote(aether: Aether) -> None:
    with aether.start("chaos", "examples/lava.toml", "--cycles", "5", "--sample", "1", "--ray", "20") as started:
        wait_for(aether, "hosts.txt")
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code == 130, ended.err
    assert ended.err == "aether: interrupted\n"
    assert not list(aether.folder.glob("aether-*"))
    wait_until(lambda: not processes_naming(str(aether.folder)), what="the end of its Ray")


def test_ctrl_c_ends_the_worker_and_removes_what_it_wrote(aether: Aether) -> None:
    with aether.start("chaos", "examples/lava.toml", "--cycles", "50") as started:
        wait_for(aether, "*.db")
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text(encoding="utf-8").split()
        assert children
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code == 130, ended.err
    assert not list(aether.folder.glob("aether-chaos-*"))
    for pid in children:
        wait_until(lambda pid=pid: not Path("/proc", pid).exists(), what=f"the end of {pid}")  # type: ignore[misc]


@pytest.mark.skipif(sys.platform != "linux", reason="the system has no word for a parent's death")
def test_a_command_that_is_killed_leaves_no_worker_behind(aether: Aether) -> None:
    with aether.start("chaos", "examples/lava.toml", "--cycles", "50") as started:
        wait_for(aether, "*.db")
        (worker,) = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text(encoding="utf-8").split()
        started.kill()
    wait_until(lambda: not Path("/proc", worker).exists(), what="the end of the worker")


def test_a_scenario_that_does_not_run_undisturbed_is_not_certified(aether: Aether) -> None:
    with ModelServer(always=policy) as server:
        scenario = errand(aether.folder, server, "pay", tools="tests.till")
        ran = aether("chaos", scenario, "--ledger", "false", "--fresh", "TILL", "--json")
        assert ran.code == 1
        assert "--ledger 'false' ended with 1" in ran.json["error"]["message"]
    ran = aether("chaos", "examples/lava.toml", "--fresh", "not-a-name", "--json")
    assert ran.code == 2
