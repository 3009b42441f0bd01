"""`aether log rebuild`, as a person and as a program reads it, and every other command on a log without payloads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import EventLog, open_log
from telemetry.log.imports import import_lines
from telemetry.otel import names
from telemetry.otel.files import OtlpFile, logs_line
from telemetry.otel.record import Detail, record_of
from tests.aether import ROOT, Aether
from tests.postgres import PASSWORD, Server


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    """A log of two sessions."""
    with closing(open_log(tmp_path_factory.mktemp("source") / "log.db")) as log:
        for name in ("maze", "lava"):
            with (ROOT / "tests" / "golden" / f"{name}.jsonl").open("rb") as file:
                import_lines(log, file)
        yield log


def records(log: EventLog, folder: Path, detail: Detail = "stored", *, without: tuple[str, ...] = ()) -> Path:
    with OtlpFile(folder / "logs.jsonl") as file:
        for event in log.read_all():
            if event.id not in without:
                file.append(logs_line([record_of(event, detail=detail)], resource={names.LOG_ID: log.id}))
    return folder


def test_a_log_is_rebuilt_and_says_where_it_ends(aether: Aether, tmp_path: Path, source: EventLog) -> None:
    folder, path = records(source, tmp_path / "records"), str(tmp_path / "log.db")
    ran = aether("log", "rebuild", "--from-otlp", str(folder), "--log", path)
    root = source.seal().root
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"289 events of 2 streams imported; the heads have the root {root[:12]}…\n"
    again = aether("log", "rebuild", "--from-otlp", str(folder / "logs.jsonl"), "--log", path, "--json")
    (row,) = again.json["rows"]
    assert (row["new"], row["stood"], row["whole"], again.json["root"]) == (0, 289, True, root)
    assert aether("replay", "maze", "--log", path).code == 0


def test_what_is_missing_is_listed_and_is_exit_4(aether: Aether, tmp_path: Path, source: EventLog) -> None:
    lost = ("session/lava@7", "session/lava@8", "session/maze@147")
    folder, path = records(source, tmp_path / "records", without=lost), str(tmp_path / "log.db")
    seal = tmp_path / "seal.json"
    seal.write_bytes(source.seal().to_json())
    command = ("log", "rebuild", "--from-otlp", str(folder), "--log", path, "--seal", str(seal))
    ran = aether(*command)
    assert ran.code == 4
    assert ran.out.splitlines()[1:] == [
        "missing   2 events: no record of them was given",
        "          session/lava@7–8",
        "missing   1 more events, of streams that nothing names, among the positions 147, 154–155",
        "held      135 events: they come after what is missing or contested",
        "          session/lava@6",
        "          session/lava@9–142",
    ]
    assert "the seal names what is not in this log: session/lava@142 with hash" in ran.err
    answer = aether(*command, "--json").json
    assert answer["missing"] == [{"stream": "session/lava", "first": 7, "last": 8}]
    assert answer["gaps"][0] == {"log": source.id, "first": 147, "last": 147}
    assert answer["lacks"][1].startswith("session/maze@147")
    assert aether("log", "verify", "--log", path).code == 0


@pytest.fixture(scope="module")
def withheld(tmp_path_factory: pytest.TempPathFactory, source: EventLog) -> Path:
    """A log rebuilt from digests."""
    from telemetry.otel.rebuild import rebuild

    folder = tmp_path_factory.mktemp("withheld")
    with closing(open_log(folder / "log.db")) as log:
        rebuild(log, [records(source, folder / "records", "digest")])
    return folder / "log.db"


def test_commands_on_a_log_without_payloads_say_what_can_be_said(aether: Aether, withheld: Path) -> None:
    log = ("--log", str(withheld))
    verified = aether("log", "verify", *log)
    assert (verified.code, verified.out) == (
        0,
        "289 events of 2 streams are intact up to position 289; the payloads of 289 are withheld\n",
    )
    stretches = aether("log", "verify", "--json", *log).json["withheld"]
    assert stretches[0] == {"stream": "session/maze", "first": 1, "last": 147}
    rows = aether("session", "list", "--json", *log).json["rows"]
    assert [(row["session"], row["status"], row["cycles"]) for row in rows] == [
        ("lava", "closed", 5),
        ("maze", "closed", 6),
    ]
    replayed = aether("replay", "maze", *log)
    assert (replayed.code, "state not checkable from cycle 0: 147 events cannot be read" in replayed.out) == (0, True)
    assert aether("session", "tail", "maze", "-n", "1", *log).out.endswith("session.closed             (withheld)\n")
    assert aether("session", "tail", "maze", "-n", "1", "--json", *log).json["rows"][0]["payload"] is None
    shown = aether("session", "show", "maze", *log)
    assert (shown.code, "the payload of event session/maze@1 is withheld" in shown.err) == (3, True)


def test_sessions_run_on_a_log_without_payloads_recall_what_they_remember_and_are_resumed_beside_it(
    aether: Aether, tmp_path: Path, source: EventLog
) -> None:
    from telemetry.otel.rebuild import rebuild

    path, cut = str(tmp_path / "log.db"), tmp_path / "cut"
    with OtlpFile(cut / "logs.jsonl") as file:
        for event in source.read_all():
            detail: Detail = "digest" if event.version > 40 else "stored"
            if event.version <= 100:
                file.append(logs_line([record_of(event, detail=detail)], resource={names.LOG_ID: source.id}))
    with closing(open_log(path)) as log:
        rebuild(log, [cut])
    scenario = tmp_path / "recalls.toml"
    scenario.write_text(
        'name = "recalls"\n[environment]\nid = "gymnasium:PointMaze_UMaze-v3"\n[memory]\nwhen = "always"\nrecall = 2\n'
    )
    ran = aether("run", str(scenario), "--cycles", "3", "--log", path, "--json")
    assert ran.code == 0, ran.err
    (name,) = (row["session"] for row in ran.rows)
    with closing(open_log(path, mode="read")) as log:
        assert sum(1 for _ in log.read(f"session/{name}", types=("sense.recalled",))) == 2, "from the second cycle on"
    resumed = aether("session", "resume", "--all", "--log", path)
    assert resumed.code == 3
    for each in ("lava", "maze"):
        assert f"{each}: the payload of event session/{each}@41 is withheld" in resumed.err


def test_payloads_that_come_later_make_the_log_readable(
    aether: Aether, tmp_path: Path, withheld: Path, source: EventLog
) -> None:
    path = shutil.copy(withheld, tmp_path / "log.db")  # others ask the one that stays without
    log = ("--log", str(path))
    folder = records(source, tmp_path / "records")
    assert aether("session", "list", *log).code == 0
    ran = aether("log", "rebuild", "--from-otlp", str(folder), *log)
    assert ran.out.startswith("nothing new, 289 stood already, 289 withheld payloads put where they belong")
    assert f"Remove {path}.traces if it is there" in ran.err
    rows = aether("session", "list", "--json", *log).json["rows"]
    assert [(row["scenario"], row["outcome"]) for row in rows] == [("lava", "cycles"), ("maze", "cycles")]
    assert aether("replay", "maze", *log).code == 0


def test_bad_input_says_what_to_do(aether: Aether, tmp_path: Path) -> None:
    log = ("--log", str(tmp_path / "log.db"))
    nowhere = aether("log", "rebuild", "--from-otlp", str(tmp_path / "nowhere"), *log)
    assert (nowhere.code, "write records with: aether trace export --file" in nowhere.err) == (3, True)
    golden = str(ROOT / "tests" / "golden" / "maze.jsonl")
    export = aether("log", "rebuild", "--from-otlp", golden, *log)
    assert (export.code, f"Try: aether log import {golden}" in export.err) == (4, True)
    other = aether("log", "rebuild", "--from-otlp", str(ROOT / "README.md"), "--json", *log)
    assert (other.code, other.json["error"]["exit_code"]) == (4, 4)


def test_a_log_is_rebuilt_on_postgresql_and_no_password_is_shown(
    aether: Aether, tmp_path: Path, source: EventLog, server: Server
) -> None:
    folder, url = records(source, tmp_path / "records", "digest"), server.database()
    ran = aether("log", "rebuild", "--from-otlp", str(folder), "--log", url)
    assert (ran.code, PASSWORD in ran.out + ran.err) == (0, False)
    assert f"the heads have the root {source.seal().root[:12]}…" in ran.out
    assert aether("log", "verify", "--log", url).out.endswith("the payloads of 289 are withheld\n")


EXAMPLES = ROOT.parent / "shared" / "data" / "otlp-examples"


@pytest.mark.parametrize("name", ["logs", "events", "trace", "metrics"])
def test_the_examples_of_the_protocol_hold_no_record_of_ours(aether: Aether, tmp_path: Path, name: str) -> None:
    path = EXAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the protocol's examples are not here: ../shared/data/otlp-examples")
    ran = aether("log", "rebuild", "--from-otlp", str(path), "--log", str(tmp_path / "log.db"))
    assert (ran.code, f"no record of an event is in {path}. Nothing was imported." in ran.err) == (4, True)
