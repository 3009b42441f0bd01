"""`aether trace show` draws what the log holds, and says where the rest is."""

from __future__ import annotations

import re
import shutil
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.errors import NotFound
from runtime.fork import fork_in
from runtime.retention import archive, prune
from runtime.telemetry.timeline import cycle_of, timeline
from telemetry.errors import EventsPruned
from telemetry.events.values import Say
from telemetry.log import open_log
from telemetry.otel.files import OtlpFile, logs_line
from telemetry.otel.record import record_of
from telemetry.otel.spans import session_spans
from tests.aether import Aether, Ran
from tests.local import Local
from tests.model_server import ModelServer
from tests.traced import TALK, WORLD, policy

LENGTH = re.compile(r" +(?:–|[\d.,]+ (?:ns|µs|ms|s))  ")


class Made(NamedTuple):
    log: Path
    fork: str
    """Of the session `world` after its second cycle."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A log with a conversation, four cycles in a world, and a fork of those."""
    folder = tmp_path_factory.mktemp("shown")
    with pytest.MonkeyPatch.context() as patch, ModelServer() as model:
        patch.setenv("SPANS", str(folder / "spans.jsonl"))
        model.always = policy
        with closing(open_log(folder / "log.db")) as log, closing(Local(log)) as local:
            local.run("talk", TALK.format(url=model.url, errand="look about", more=""))
            local.run("world", WORLD)
            cut = local.events("world", "session.cycle_closed")[1].version
    return Made(folder / "log.db", fork_in(str(folder / "log.db"), "world", at=cut))


@pytest.fixture
def show(made: Made, aether: Aether) -> Show:
    return Show(aether, made.log)


class Show(NamedTuple):
    aether: Aether
    log: Path

    def __call__(self, *arguments: str) -> Ran:
        return self.aether("trace", "show", *arguments, "--log", str(self.log))


def test_each_cycle_is_a_tree_of_what_was_decided_and_done(show: Show) -> None:
    ran = show("talk")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "talk  traced  closed  done  2 cycles"
    first = lines.index(next(line for line in lines if line.startswith("cycle 1")))
    assert lines[first].endswith('look(where="left"), look(where="right")')
    assert [LENGTH.split(line)[0] for line in lines[first + 1 : first + 10]] == [
        "├─ sense",
        "├─ feel",
        "├─ reason",
        "│  └─ chat test-model",
        "├─ feel",
        "├─ reason",
        "├─ execute",
        "│  ├─ execute_tool look",
        "│  └─ execute_tool look",
    ]
    assert lines[first + 8].endswith('{"where":"left"}; succeeded; "nothing"')


def test_a_long_session_is_shown_a_page_at_a_time_and_the_last_line_asks_for_the_next(show: Show) -> None:
    ran = show("world", "--limit", "3")
    assert ran.out.splitlines()[-1] == "More: aether trace show world --after 3 --limit 3"
    rest = show("world", "--after", "3", "--limit", "3")
    assert "More:" not in rest.out
    headings = [line.split()[1] for line in (ran.out + rest.out).splitlines() if line.startswith("cycle ")]
    assert headings == ["1", "2", "3", "4"]


def test_surprise_and_outcome_stand_where_they_belong(show: Show) -> None:
    ran = show("world", "--cycle", "2")
    sense = next(line for line in ran.out.splitlines() if "sense" in line)
    acted = next(line for line in ran.out.splitlines() if "act gymnasium:tests.traced:Traced-v0" in line)
    assert "surprise" in sense
    assert "nats" in sense
    assert acted.endswith("succeeded; reward 0")


def test_a_fork_shows_whose_cycles_it_shares(show: Show, made: Made) -> None:
    lines = show(made.fork).out.splitlines()
    assert lines[1].startswith("forked from session/world@")
    assert [line for line in lines if line.startswith("cycle ") and not line.endswith("of session/world")] == []
    assert len([line for line in lines if line.startswith("cycle ")]) == 2


def test_as_json_every_span_is_a_row_and_the_page_says_what_was_decided(show: Show, made: Made) -> None:
    said = show("world", "--cycle", "3", "--json").json
    with closing(open_log(made.log, mode="read")) as log:
        spans = list(session_spans(log, "session/world", cycle=3))
    assert {row["span_id"] for row in said["rows"] if row["cycle"]} == {f"{one.span_id:016x}" for one in spans}
    assert said["cycles"][0]["decided"].startswith("move ")
    assert (said["next"], said["forked_from"]) == (None, None)
    assert said["session"]["session"] == "world"
    assert show("world", "--limit", "2", "--json").json["next"] == "2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody",), "there is no session 'nobody'"),
        (("world", "--cycle", "9"), "there is no cycle 9 in session world"),
    ],
)
def test_what_is_not_there_is_exit_3_and_says_so(show: Show, arguments: tuple[str, ...], words: str) -> None:
    ran = show(*arguments)
    assert (ran.code, ran.out) == (3, "")
    assert words in ran.err
    asked = show(*arguments, "--json")
    assert asked.code == asked.json["error"]["exit_code"] == 3


def test_a_page_is_the_same_however_the_session_is_cut_into_pages(made: Made) -> None:
    with closing(open_log(made.log, mode="read")) as log:
        whole = timeline(log, "world", limit=100).cycles
        by_page = [one for after in range(4) for one in timeline(log, "world", after=after, limit=1).cycles]
        alone = [cycle_of(log, "world", number) for number in range(1, 5)]
        for one, paged, single in zip(whole, by_page, alone, strict=True):
            assert one.spans == paged.spans == single.spans
            assert one.decision == paged.decision == single.decision
        with pytest.raises(NotFound):
            cycle_of(log, "world", 5)


def test_a_log_without_its_payloads_still_tells_when_and_how_long(made: Made, aether: Aether, tmp_path: Path) -> None:
    with closing(open_log(made.log, mode="read")) as log, OtlpFile(tmp_path / "records.jsonl") as file:
        file.append(logs_line([record_of(event, detail="digest") for event in log.read_all()], resource={}))
    rebuilt = str(tmp_path / "rebuilt.db")
    assert aether("log", "rebuild", "--from-otlp", str(tmp_path / "records.jsonl"), "--log", rebuilt).code in (0, 4)
    ran = aether("trace", "show", "world", "--cycle", "2", "--log", rebuilt)
    assert ran.code == 0, ran.err
    assert "events cannot be read here" in ran.out
    assert [LENGTH.split(line)[0] for line in ran.out.splitlines()[3:6]] == ["├─ sense", "├─ feel", "├─ reason"]


def test_a_session_whose_beginning_was_removed_is_shown_from_where_it_stands(made: Made, tmp_path: Path) -> None:
    shutil.copy(made.log, tmp_path / "log.db")
    with closing(open_log(tmp_path / "log.db")) as log:
        cut = [r.version for r in log.read("session/talk", types=("session.cycle_closed",))]
        list(archive(log, ["talk"], tmp_path))
        prune(log, "talk", tmp_path, to=cut[0])
        assert [one.number for one in timeline(log, "talk", limit=10).cycles] == [2]
        assert cycle_of(log, "talk", 2).decided == Say(text="Done.")
        with pytest.raises(EventsPruned, match="were archived and removed"):
            cycle_of(log, "talk", 1)
        prune(log, "talk", tmp_path)
        with pytest.raises(EventsPruned, match="were archived and removed"):
            timeline(log, "talk", limit=10)
