"""Models listed, promoted and taken back by the commands alone, beside a live run and without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.models.registry.store import Kept, Registry, lay_down, laying_down
from telemetry.events.learn import ModelAdopted, ModelPromoted, ModelRolledBack
from telemetry.events.session import Opened
from telemetry.log import open_log
from tests.aether import Aether, position, wait_until
from tests.trained import lived
from world_model.checkpoint import save
from world_model.frozen import learn_linear

LONG = """\
name = "long"
cycles = 1000000
memory = { recall = 0, when = "never" }
[environment]
id = "null:"
"""


EXPLORE = """\
name = "explore"
seed = 5
sessions = 4
cycles = 80
memory = { recall = 0 }
world_model = { kind = "none" }
environment = { id = "gymnasium:PointMaze_UMaze-v3", frames = 5, max_frames = 100, episodes = 1000 }
"""
PLAN = """\
name = "plan"
cycles = 3
memory = { recall = 0 }
reasoner = { kind = "active_inference" }
world_model = { kind = "trained", model = "umaze" }
environment = { id = "gymnasium:PointMaze_UMaze-v3", frames = 5, max_frames = 100 }
"""
FOLLOW = """\
name = "follow"
cycles = 1000000
memory = { recall = 0 }
reasoner = { kind = "greedy" }
learning = { model = "umaze" }
environment = { id = "gymnasium:PointMaze_UMaze-v3", frames = 5, max_frames = 100, episodes = 1000000 }
"""


def lay(registry: Registry, share: float, *, latest: bool = True) -> Kept:
    with laying_down(registry, "line") as written:
        rest, _ = lived().split(held_out=share, seed=0)
        model = save(written, learn_linear(rest, name="line"), landmarks=None, metrics={})
        return lay_down(registry, written, model.partition("@")[2], latest=latest)


@pytest.fixture
def aether() -> Iterator[Aether]:
    """A home with an empty log."""
    found = Aether()
    found.home.mkdir()
    open_log(found.log).close()
    yield found
    found.remove()


@pytest.fixture
def models(aether: Aether) -> tuple[Kept, Kept]:
    """Two of one name, the second one the latest."""
    registry = Registry(folder=aether.home / "models")
    return lay(registry, 0.1), lay(registry, 0.2)


def test_a_model_is_promoted_and_taken_back(aether: Aether, models: tuple[Kept, Kept]) -> None:
    first, second = models
    assert aether("model", "promote", second.model).out.splitlines() == [f"{second.model} stands", "event model/line@1"]
    ran = aether("model", "promote", first.model[:-4], "--why", "calmer", "--json")
    (row,) = ran.rows
    assert ran.json["as_of"] == 2
    assert row == {
        "name": "line",
        "model": first.model,
        "before": second.model,
        "event": "model/line@2",
        "mended": False,
    }
    listed = aether("model", "list", "--json").rows
    assert [(row["model"], row["promoted"], row["latest"]) for row in listed] == [
        (second.model, False, True),
        (first.model, True, False),
    ]
    assert aether("model", "list").out.split()[:3] == ["model", "promoted", "latest"]
    again = aether("model", "promote", first.model)
    assert (again.code, again.out) == (0, f"{first.model} stands already; nothing was entered\n")
    back = aether("model", "rollback", "line", "--why", "turns in circles")
    assert back.out.splitlines() == [f"{first.model} was taken back; {second.model} stands", "event model/line@3"]
    none = aether("model", "rollback", "line", "--json")
    assert (none.code, none.json["error"]["exit_code"]) == (3, 3)
    assert f"{second.model} stands, and nothing stood before it" in none.json["error"]["message"]
    with closing(open_log(aether.log, mode="read")) as log:
        events = [recorded.event for recorded in log.read("model/line")]
    assert events[1:] == [
        ModelPromoted(model=first.model, incumbent=second.model, figures={"by_hand": True}, why="calmer"),
        ModelRolledBack(model=first.model, to=second.model, figures={"by_hand": True}, why="turns in circles"),
    ]


def test_beside_a_live_run_its_host_enters_what_is_said(aether: Aether, models: tuple[Kept, Kept]) -> None:
    first, second = models
    file = aether.folder / "long.toml"
    file.write_text(LONG)
    with aether.start("run", str(file), terminal=True) as run:
        wait_until(lambda: position(aether.log) > 10, what="a session's events")
        for model in (first.model, second.model):
            ran = aether("model", "promote", model)
            assert ran.code == 0, ran.err
        ran = aether("model", "rollback", "line")
        assert (ran.code, ran.out.splitlines()[-1]) == (0, "event model/line@3"), ran.err
        assert run.running
    assert (aether.home / "models" / "line" / "promoted").read_text().split() == [first.model]


def test_a_promoted_model_that_is_gone_is_named_in_the_list(aether: Aether, models: tuple[Kept, Kept]) -> None:
    first, second = models
    for model in models:
        aether("model", "promote", model.model)
    for file in second.folder.iterdir():
        file.unlink()
    second.folder.rmdir()
    listed = aether("model", "list")
    assert (listed.code, first.model in listed.out) == (0, True)
    assert f"{second.model} is promoted and is not there. Put it back, or: aether model rollback line" in listed.err
    assert aether("model", "rollback", "line").code == 0
    assert aether("model", "list", "--json").rows[0]["promoted"]
    (aether.home / "models" / "line" / "promoted").write_text("no id\n")
    damaged = aether("model", "list", "--json")
    assert (damaged.code, len(damaged.rows)) == (0, 1)
    assert "does not say which line is promoted" in damaged.err


def test_models_at_a_url_are_those_of_every_machine(aether: Aether, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/shared"
    one = lay(Registry(folder=tmp_path / "elsewhere", url=url), 0.1)
    (aether.home / "aether.toml").write_text(f'models = "{url}"\n')
    (row,) = aether("model", "list", "--json", cwd=aether.home).rows
    assert (row["model"], row["latest"], row["promoted"]) == (one.model, True, False)
    assert aether("model", "promote", one.model, cwd=aether.home).code == 0
    assert (tmp_path / "shared" / "line" / "promoted").read_text() == f"{one.model}\n"
    assert sorted(path.name for path in (aether.home / "models" / "line").iterdir()) == [one.digest], "it was fetched"


SHARED = "AETHER_MODELS"


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[str, str]]:
    """A URL that machines share, and the model there that one of them trained."""
    aether = Aether()
    url = f"file://{aether.folder}/shared"
    (aether.folder / "explore.toml").write_text(EXPLORE)
    ran = aether("run", str(aether.folder / "explore.toml"), "--json", env={SHARED: url})
    assert ran.code == 0, ran.err
    ran = aether("train", "world-model", "umaze", "--kind", "linear", "--json", env={SHARED: url})
    assert ran.code == 0, ran.err
    yield url, ran.rows[0]["model"]
    aether.remove()


def test_a_model_that_one_machine_trained_is_what_a_session_of_another_acts_by(
    aether: Aether, trained: tuple[str, str]
) -> None:
    url, model = trained
    plan = aether.folder / "plan.toml"
    plan.write_text(PLAN)
    ran = aether("run", str(plan), "--json", env={SHARED: url})
    assert ran.code == 0, ran.err
    with closing(open_log(aether.log, mode="read")) as log:
        (head,) = log.heads(prefix="session/")
        opened = next(log.read(head.stream)).event
    assert isinstance(opened, Opened)
    assert opened.versions["world_model"] == model
    assert (aether.home / "models" / "umaze" / model.partition("@")[2]).is_dir()
    missing = aether("run", str(plan), "--json", env={SHARED: f"{url}/empty"})
    assert (missing.code, "there is no model 'umaze'" in missing.json["error"]["message"]) == (3, True)


def adopted(log: Path) -> list[str | None]:
    """What the sessions of the log took up, one after the other."""
    with closing(open_log(log, mode="read")) as store:
        events = [recorded.event for recorded in store.read_all(types=["learn.model_adopted"])]
    return [event.model for event in events if isinstance(event, ModelAdopted)]


def test_a_live_session_takes_up_what_a_person_promotes_and_takes_back(
    aether: Aether, trained: tuple[str, str]
) -> None:
    url, model = trained
    file = aether.folder / "follow.toml"
    file.write_text(FOLLOW)
    with aether.start("run", str(file), terminal=True, env={SHARED: url}) as run:
        wait_until(lambda: position(aether.log) > 10, what="a session's events")
        ran = aether("model", "promote", model, env={SHARED: url})
        assert ran.code == 0, ran.err
        assert ran.out.splitlines()[0].startswith(f"{model} stands, in place of greedy@")
        wait_until(lambda: adopted(aether.log) == [model], what=f"{model} is adopted; {run.shown()}")
        ran = aether("model", "rollback", "umaze", env={SHARED: url})
        assert ran.code == 0, ran.err
        wait_until(
            lambda: adopted(aether.log) == [model, None],
            what="the scenario's own policy again",
        )
        assert run.running


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("promote", "line"), 2, "name it NAME@DIGEST"),
        (("promote", "lime@abc"), 3, "did you mean 'line'"),
        (("promote", "line@" + "0" * 12), 3, "there is no"),
        (("rollback", "lime"), 3, "did you mean 'line'"),
        (("rollback", "line"), 3, "no model 'line' was ever promoted"),
        (("rollback", "line", "--log", "nowhere.db"), 3, "there is no log"),
    ],
)
def test_a_mistake_ends_with_its_code(
    aether: Aether, models: tuple[Kept, Kept], arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = aether("model", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("ftp://me:hunter2@127.0.0.1:1/models", 6, "ftp://me:***@127.0.0.1:1/models cannot be reached"),
        ("sfpt://me:hunter2@host/models", 2, "models cannot lie at sfpt://me:***@host/models; did you mean 'sftp'"),
    ],
)
def test_a_url_that_cannot_be_used_is_said_without_its_secrets(aether: Aether, url: str, code: int, said: str) -> None:
    for arguments in (("model", "list"), ("model", "promote", "line@abc"), ("model", "show", "line")):
        ran = aether(*arguments, env={"AETHER_MODELS": url})
        assert (ran.code, said in ran.err) == (code, True), ran.err
        assert "hunter2" not in ran.out + ran.err
    ran = aether("doctor", env={"AETHER_MODELS": url})
    assert "hunter2" not in ran.out + ran.err
    assert "me:***@" in ran.out
