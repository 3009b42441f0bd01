"""Every command that reads a log, on one whose payloads are withheld: it says what it can, or what is withheld and
how to get it, and ends in the exit code of what is not here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from runtime.cli import app
from runtime.errors import NotFound, exit_code_of
from runtime.learning.gather import gathered
from runtime.models.training.withheld import withheld
from runtime.run import resume_orders
from runtime.sessions import row_of
from telemetry.errors import PayloadWithheld
from telemetry.events import Draft, Event, Recorded, privacy
from telemetry.log import EventLog, open_log
from telemetry.log.export import event_of as event_of_line
from telemetry.log.imports import Importer
from telemetry.otel.record import event_of, record_of
from tests.golden.shapes import SHAPES
from tests.local import Local
from tests.unit.test_withheld import LINE, source

GOLDEN = Path(__file__).parents[1] / "golden"

LAST_READABLE = 40
"""Of lava, in its second cycle. Of maze and refund nothing can be read; maze was cut off in its fifth cycle."""
MAZE_ENDS = 100


def without_payload(event: Recorded) -> Recorded:
    return event_of(record_of(event, detail="digest"))


def golden(name: str) -> Iterator[Recorded]:
    with (GOLDEN / f"{name}.jsonl").open("rb") as file:
        yield from (event_of_line(line) for line in file)


def shape(type_: str) -> Event:
    return next(event for event in SHAPES if event.type == type_)


def take(log: EventLog, events: Iterator[Recorded]) -> None:
    importer = Importer(log)
    for number, event in enumerate(events, start=1):
        importer.take(number, event)
    importer.flush()


def said(folder: Path) -> Iterator[Recorded]:
    """What streams say that are no session's, without payloads."""
    with closing(open_log(folder / "said.db")) as log:
        trained, promoted = shape("learn.model_trained"), shape("learn.model_promoted")
        for stream, *events in (
            ("model/gate", trained, promoted),
            ("model/refunds", shape("learn.playbook_written")),
            ("dataset/talks", shape("learn.dataset_built")),
        ):
            drafts = [Draft(event=event, command=f"{number}") for number, event in enumerate(events)]
            log.append(stream, drafts, expected_version=0, epoch=1)
        yield from map(without_payload, log.read_all())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("withheld")
    with closing(open_log(folder / "log.db")) as log:
        take(log, (e if e.version <= LAST_READABLE else without_payload(e) for e in golden("lava")))
        take(log, (without_payload(e) for e in golden("maze") if e.version <= MAZE_ENDS))
        take(log, map(without_payload, golden("refund")))
        take(log, said(folder))
    return folder / "log.db"


def aether(path: Path, command: str) -> Result:
    return CliRunner().invoke(app, [*command.split(), "--log", str(path)], env={"AETHER_HOME": str(path.parent)})


@pytest.mark.parametrize(
    ("command", "event"),
    [
        ("session show maze", "session/maze@1"),
        ("session show lava", "session/lava@"),
        ("session effects refund", "session/refund@1"),
        ("session reconcile refund abcdabcd --happened --why seen", "session/refund@1"),
        ("session approve refund abcd", "session/refund@1"),
        ("session deny refund abcd", "session/refund@1"),
        ("session fork maze --at 27", "session/maze@1"),
        ("session resume maze", "session/maze@1"),
        ("why maze", "session/maze@1"),
        ("why lava", "session/lava@"),
        ("rerun maze", "session/maze@1"),
        ("train world-model m maze", "session/maze@1"),
        ("model why gate", "model/gate@2"),
        ("model why gate@22", "model/gate@2"),
        ("playbook show refunds", "model/refunds@1"),
        ("dataset list talks", "dataset/talks@1"),
    ],
)
def test_what_cannot_be_told_ends_in_3_and_says_what_is_withheld_and_how_to_get_it(
    path: Path, command: str, event: str
) -> None:
    ran = aether(path, command)
    assert (ran.exit_code, ran.stdout) == (3, ""), ran.output
    assert f"the payload of event {event}" in ran.stderr
    assert "Its header, the chain and what is not withheld are intact" in ran.stderr
    assert "To get it: aether log rebuild --from-otlp" in ran.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("session list", "maze     open"),
        ("session tail lava -n 1", "(withheld)"),
        ("session effects", "No effect is unknown."),
        ("rerun lava", "the payload of event session/lava@41 is withheld"),
        ("trace show lava --limit 2", "cycle 1"),
        ("trace show refund --limit 2", "events cannot be read here"),
        ("trace metrics", "aetherloop.events"),
        ("why session/lava@20", "acted by explore"),
        ("why model/gate@2", "learn.model_promoted, whose content cannot be read"),
        ("log verify", "389 events of 6 streams are intact up to position 389; the payloads of 349 are withheld"),
        ("log seal", '"as_of": 389'),
    ],
)
def test_what_can_be_told_is(path: Path, command: str, words: str) -> None:
    ran = aether(path, command)
    assert (ran.exit_code, words in ran.output) == (0, True), ran.output


def test_a_replay_says_from_which_cycle_nothing_is_checkable_and_how_far_it_came(path: Path) -> None:
    ran = aether(path, "replay lava")
    assert ran.exit_code == 0
    first, checkable, gone, state = ran.stdout.splitlines()
    assert first == "session lava: 142 events, 1 cycles, 1 recorded state hashes agree"
    assert checkable == "chain verified, state not checkable from cycle 2: 102 events cannot be read"
    assert gone.startswith("102 of them are withheld")
    assert state.endswith("at version 40, the last before them")
    (row,) = orjson.loads(aether(path, "replay maze --json").stdout)["rows"]
    assert (row["unreadable_from"], row["withheld"], row["state_version"]) == (0, MAZE_ENDS, 0)


def test_sessions_that_nobody_can_tell_the_scenario_of_are_left_out_and_named(path: Path) -> None:
    every = aether(path, "rerun --all")
    assert (every.exit_code, "lava" in every.stdout) == (0, True)
    left = "2 sessions are left out, as what the log says of them is withheld: maze, refund"
    assert left in every.stderr
    assert orjson.loads(aether(path, "rerun --all --json").stdout)["withheld"] == ["maze", "refund"]
    of_one = aether(path, "train world-model m --scenario maze")
    assert (of_one.exit_code, left in of_one.stderr) == (3, True)
    untold: list[str] = []
    with closing(open_log(path, mode="read")) as log:
        assert [order.session for order in resume_orders(log, [], untold=untold.append)] == []
    assert untold == ["maze"]


@pytest.mark.parametrize(("command", "name"), [("dataset list", "talks"), ("playbook list", "refunds")])
def test_lists_name_what_they_leave_out(path: Path, command: str, name: str) -> None:
    ran = aether(path, command)
    assert (ran.exit_code, "is withheld" in ran.stderr, name in ran.stderr) == (0, True, True), ran.output


def test_a_session_is_a_row_also_where_what_it_came_to_is_withheld(path: Path) -> None:
    with closing(open_log(path, mode="read")) as log:
        rows = {name: _row(log, name) for name in ("lava", "maze", "refund")}
    assert rows["lava"] == ("closed", 5, "lava")
    assert rows["maze"] == ("open", 4, "")
    assert rows["refund"] == ("closed", 10, "")


def _row(log: EventLog, name: str) -> tuple[str, int, str | None]:
    head = log.head(f"session/{name}")
    assert head is not None
    row = row_of(log, head)
    return row.status, row.cycles, row.scenario


def test_learning_passes_over_sessions_that_nobody_can_tell_the_scenario_of(local: Local, tmp_path: Path) -> None:
    source(local, "line")
    before = gathered(local.log, "line", since=0)
    with closing(open_log(tmp_path / "other.db")) as other:
        with closing(Local(other)) as theirs:
            theirs.run("other", LINE, seed=3, cycles=4)
        take(local.log, map(without_payload, other.read_all()))
    assert gathered(local.log, "line", since=0) == before
    assert before.moves > 0


def test_an_archive_of_withheld_events_can_be_pruned_and_brought_back(tmp_path: Path, path: Path) -> None:
    copy, folder = tmp_path / "log.db", tmp_path / "archive"
    assert aether(path, f"log export --out {tmp_path / 'all.jsonl'}").exit_code == 0
    for command in (
        f"log import {tmp_path / 'all.jsonl'}",
        f"log archive refund --folder {folder}",
        f"log prune refund --folder {folder}",
        f"log import {folder / 'session%2Frefund.parquet'}",
    ):
        ran = aether(copy, command)
        assert ran.exit_code == 0, ran.output
    assert "the payloads of 349 are withheld" in aether(copy, "log verify").output, "all but lava's first forty"


def test_what_a_person_said_and_nobody_can_read_is_no_consent(local: Local) -> None:
    served = source(local, "served", person="ada")
    assert withheld(local.log, served) is None
    with closing(open_log(Path(f"{local.log.url}.subject"))) as other:
        granted = privacy.ConsentGranted(subject="ada", purposes=("learning",))
        other.append("subject/ada", [Draft(event=granted, command="consent")], expected_version=0, epoch=1)
        take(local.log, map(without_payload, other.read_all()))
    assert withheld(local.log, served) == "unreadable"


def test_the_error_is_one_of_what_is_not_here() -> None:
    assert exit_code_of(PayloadWithheld("x")) == NotFound.exit_code
