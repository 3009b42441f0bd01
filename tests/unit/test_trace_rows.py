"""Rows of recorded sessions hold what their events say."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from telemetry.errors import InvalidEvent
from telemetry.events import execute, feel, learn, reason, sense
from telemetry.log import EventLog, open_log
from telemetry.otel import names
from telemetry.otel.files import OtlpFile, logs_line
from telemetry.otel.ids import cycle_span_id
from telemetry.otel.rebuild import rebuild
from telemetry.otel.record import record_of
from telemetry.otel.spans import session_spans
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.fold import TELLERS, Fold
from telemetry.query.rows.kinds import COMMON, EVENT, SQL
from telemetry.query.rows.tables import rows_of
from tests.in_turns import SESSIONS, closings, fill_in_turns, fill_with_shapes, forked, golden

Row = dict[str, Any]


def told(log: EventLog, kind: str, **having: object) -> list[Row]:
    rows: list[Row] = rows_of(log, after=0, kinds=(kind,))[kind].to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in having.items())]


def test_every_kind_begins_with_the_columns_of_all_and_says_what_each_means() -> None:
    for kind in KINDS.values():
        shared = EVENT if kind.name == "events" else COMMON
        assert kind.columns[: len(shared)] == shared
        assert len({column.name for column in kind.columns}) == len(kind.columns)
        for column in kind.columns:
            assert column.meaning.endswith((".", "`", ")")), f"{kind.name}.{column.name}"
        assert kind.schema.field("position").metadata[b"meaning"]
        assert kind.schema.metadata == {b"aetherloop.kind": kind.name.encode(), b"aetherloop.rows": b"1"}


def test_every_event_of_the_log_is_a_row_with_its_payload_as_recorded(log: EventLog) -> None:
    fill_in_turns(log)
    rows = told(log, "events")
    events = list(log.read_all())
    assert [row["event"] for row in rows] == [event.id for event in events]
    assert [row["position"] for row in rows] == list(range(1, len(events) + 1))
    for row, event in zip(rows, events, strict=True):
        assert row["payload"].encode() == event.payload
        assert (row["refs"], row["cause"] or "") == (orjson.loads(event.refs), event.cause)


def test_the_golden_logs_fill_every_kind(log: EventLog) -> None:
    fill_in_turns(log)
    fill_with_shapes(log)
    tables = rows_of(log, after=0)
    assert {kind for kind, rows in tables.items() if rows.num_rows == 0} == set()
    for rows in tables.values():
        rows.validate(full=True)


def test_ids_in_a_row_are_of_events_that_stand_on_the_log(log: EventLog) -> None:
    fill_in_turns(log, SESSIONS)
    ids = {event.id for event in log.read_all()}
    for kind, rows in rows_of(log, after=0).items():
        for row in rows.to_pylist():
            named = {row.get(name) for name in ("observation", "decision", "prediction", "answer", "outcome_event")}
            assert {row["event"], *row.get("sources", ()), *named} - {None} <= ids, kind


def test_an_action_stands_with_its_outcome_and_the_next_observation_is_the_one_it_names(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    actions, seen = told(log, "actions"), {row["cycle"]: row for row in told(log, "observations")}
    assert len(actions) == 6
    for action in actions:
        (intended,) = (event for event in golden("maze") if event.id == action["event"])
        (outcome,) = (event for event in golden("maze") if event.id == action["outcome_event"])
        assert isinstance(intended.event, execute.Intended)
        assert isinstance(outcome.event, execute.Succeeded)
        assert action["position"] == outcome.position
        assert action["reward"] == outcome.event.reward
        move = intended.event.action.model_dump(mode="json")["to"]
        assert action["move_shape"] == move["shape"]
        assert np.float32(action["move"]).tobytes() == intended.event.action.to.numpy().tobytes()  # type: ignore[union-attr]
        if (after := seen.get(action["cycle"] + 1)) is not None:
            assert action["observed"] == after["digest"]


def test_numbers_that_were_seen_stand_flat_with_their_names_and_shapes(log: EventLog) -> None:
    fill_in_turns(log, ("lava", "maze"))
    for row, event in zip(
        told(log, "observations", session="lava"),
        (event.event for event in golden("lava") if event.type == "sense.observed"),
        strict=True,
    ):
        assert isinstance(event, sense.Observed)
        arrays = [one for one in event.observations if one.kind == "array"]
        assert row["names"] == ["direction", "image"]
        assert row["shapes"] == [[], [7, 7, 3]]
        assert row["values"] == [float(n) for one in arrays for n in one.array.numpy().ravel()]
        assert row["text"] == "get to the green goal square" or row["text"]
    first = told(log, "observations", session="maze")[0]
    (goal,) = (e.event.goal for e in golden("maze")[:3] if isinstance(e.event, sense.Observed))
    assert goal is not None
    assert first["achieved"] == goal.achieved.numpy().tolist()
    assert first["desired"] == goal.desired.numpy().tolist()


def test_a_surprise_names_the_prediction_that_it_measures(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    predictions = {row["event"]: row for row in told(log, "predictions")}
    surprises = told(log, "surprises")
    assert len(surprises) == 5
    for row in surprises:
        predicted = predictions[row["prediction"]]
        assert predicted["cycle"] == row["cycle"] - 1
        assert predicted["model"] == row["model"]
    (event,) = (e.event for e in golden("maze") if e.id == surprises[0]["prediction"])
    assert isinstance(event, reason.Predicted)
    assert predictions[surprises[0]["prediction"]]["mean"] == event.mean.numpy().tolist()


def test_what_was_held_back_stands_with_the_decision_and_is_counted_in_the_cycle(log: EventLog) -> None:
    fill_in_turns(log, ("lava",))
    inhibited = [e for e in golden("lava") if isinstance(e.event, feel.Inhibited)]
    assert inhibited
    for event in inhibited:
        (decision,) = told(log, "decisions", cycle=event.cycle)
        assert (decision["held_back"], decision["rules"]) == (event.event.proposal, list(event.event.rules))  # type: ignore[union-attr]
        assert event.id in decision["sources"]
        assert told(log, "cycles", cycle=event.cycle)[0]["inhibited"] == 1
        assert len(decision["option_actions"]) == len(decision["option_verdicts"]) == 7


def test_a_conversation_reads_in_order_and_every_call_is_answered_after_it(log: EventLog) -> None:
    fill_in_turns(log, ("refund", "maze"))
    messages = sorted(told(log, "messages"), key=lambda row: (row["turn"], row["place"]))
    assert [row["role"] for row in messages[:7]] == ["user", "assistant", "tool"] + ["assistant", "tool"] * 2
    assert messages[0]["content"] == "Please refund my order 1001."
    assert {row["subject"] for row in messages} == {"ada"}
    open_calls: set[str] = set()
    for row in messages:
        if row["role"] == "tool":
            open_calls.remove(row["tool_call_id"])
        else:
            assert not open_calls
        calls = orjson.loads(row["tool_calls"] or "[]")
        open_calls |= {call["id"] for call in calls}
        assert all(isinstance(orjson.loads(call["function"]["arguments"]), dict) for call in calls)
    (row,) = told(log, "sessions", session="refund")
    assert [tool["function"]["name"] for tool in orjson.loads(row["tools"])] == ["find_order", "refund", "email"]


def test_a_model_call_has_its_request_its_answer_and_its_cost(log: EventLog) -> None:
    fill_in_turns(log, ("refund",))
    calls = told(log, "model_calls")
    assert len(calls) == 10
    first = calls[0]
    assert (first["event"], first["answer"], first["outcome"]) == ("session/refund@6", "session/refund@7", "answered")
    assert (first["input_tokens"], first["output_tokens"], first["elapsed_ns"]) == (69, 10, 13117215)
    assert first["context"] == ["session/refund@3"]
    assert sum(row["model_calls"] for row in told(log, "cycles")) == len(calls)


def test_what_a_person_said_of_an_answer_names_the_answer(log: EventLog) -> None:
    fill_in_turns(log, ("refund",))
    decisions = {row["event"] for row in told(log, "decisions")}
    implied = told(log, "feedback", what="implied")
    assert implied
    assert {row["about"] for row in implied} <= decisions


def test_cycles_and_phases_add_up_to_what_their_events_took(log: EventLog) -> None:
    fill_in_turns(log, SESSIONS)
    spent: dict[tuple[str, int], int] = {}
    for event in log.read_all():
        if event.cycle:
            key = (event.stream, event.cycle)
            spent[key] = spent.get(key, 0) + event.elapsed_ns
    cycles = {(row["stream"], row["cycle"]): row for row in told(log, "cycles")}
    assert {key: row["elapsed_ns"] for key, row in cycles.items()} == {key: spent[key] for key in cycles}
    phases = told(log, "phases")
    for key, row in cycles.items():
        of = [phase for phase in phases if (phase["stream"], phase["cycle"]) == key]
        assert sum(phase["elapsed_ns"] for phase in of) == row["elapsed_ns"]
        assert row["duration_ns"] >= row["elapsed_ns"] or row["elapsed_ns"] - row["duration_ns"] < 10**9
        assert {phase["phase"] for phase in of} <= {"sense", "feel", "reason", "execute", "learn"}


def test_a_cycle_that_is_open_has_no_row_yet_and_its_actions_have(log: EventLog) -> None:
    events = golden("maze")
    open_to = next(event.version for event in events if event.type == "learn.rewarded" and event.cycle == 3)
    log.restore(events[:open_to]).result()
    assert len(told(log, "cycles")) == 2
    assert len(told(log, "actions")) == 3
    assert len(told(log, "rewards")) == 3
    log.restore(events[open_to:]).result()
    tail = rows_of(log, after=open_to)
    assert tail["cycles"].num_rows == 4
    assert tail["cycles"].to_pylist()[0] == told(log, "cycles", cycle=3)[0]


def test_a_fork_shares_its_parents_rows_and_says_whose(log: EventLog) -> None:
    fill_in_turns(log, ("refund",))
    cut = list(closings("refund"))[3]
    forked(log, "refund", "refund-again", at_version=cut)
    forked(log, "refund", "refund-third", at_version=list(closings("refund"))[1])
    assert {row["stream"] for row in told(log, "events", session="refund-again")} == {"session/refund-again"}
    (row,) = told(log, "sessions", session="refund-again")
    assert (row["root"], row["parent"], row["at_version"]) == ("refund", "refund", cut)
    assert (row["subject"], row["scenario"], row["tools"] is None) == ("ada", "refund", False)
    lines = {(row["ancestor"], row["to_version"]) for row in told(log, "lineage", session="refund-again")}
    assert lines == {("session/refund-again", 2**63 - 1), ("session/refund", cut)}
    past = [
        row["event"]
        for row in told(log, "events")
        if any(row["stream"] == stream and row["version"] <= to for stream, to in lines)
    ]
    assert past == [event.id for event in log.read("session/refund-again")]


def test_what_cannot_be_read_is_an_event_and_nothing_else(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    events = [
        replace(event, encoding="withheld", payload=b"") if event.type == "sense.observed" else event
        for event in log.read_all()
    ]
    fold = Fold(log)
    fold.add(events)
    rows = fold.take()
    assert len(rows["events"]) == len(events)
    assert rows["observations"] == []
    assert len(rows["actions"]) == 6


def test_a_type_or_a_schema_of_a_later_version_is_an_event_and_nothing_else(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    later = {"sense.observed": {"schema": 99}, "learn.rewarded": {"type": "learn.paid"}}
    events = [replace(event, **later.get(event.type, {})) for event in log.read_all()]  # type: ignore[arg-type]
    fold = Fold(log)
    fold.add(events)
    rows = fold.take()
    assert len(rows["events"]) == len(events)
    assert rows["observations"] == rows["rewards"] == []
    assert len(rows["actions"]) == 6


def test_a_payload_that_is_not_of_its_type_is_named_and_makes_no_row(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    good, bad = [], None
    for event in log.read_all():
        if event.type == "sense.observed":
            bad = replace(event, payload=b'{"digest":', digest=hashlib.sha256(b"").digest())
            break
        good.append(event)
    assert bad is not None
    fold = Fold(log)
    with pytest.raises(InvalidEvent, match=r"session/maze@3 is not a sense\.observed"):
        fold.add([*good, bad])
    assert len(fold.take()["events"]) == len(good)


def test_a_content_that_lies_beside_the_log_is_told_whole(log: EventLog) -> None:
    from telemetry.events import Draft, session

    fill_in_turns(log, ("maze",))
    head = log.head("session/maze")
    assert head is not None
    reviewed = learn.SessionReviewed(figures={}, summary="x" * 50_000)
    log.append("session/maze", [Draft(event=reviewed, command="review")], expected_version=head.version, epoch=1)
    (row,) = told(log, "events", type="learn.session_reviewed")
    assert row["encoding"] == "blob"
    assert orjson.loads(row["payload"])["summary"] == reviewed.summary
    assert session.Opened.SCHEMA == 1


def test_every_type_that_rows_are_told_of_is_in_the_vocabulary() -> None:
    from telemetry.events.registry import CLASSES

    assert set(TELLERS) <= set(CLASSES)


def test_shapes_of_every_type_make_rows_whatever_stands_around_them(log: EventLog) -> None:
    fill_with_shapes(log)
    assert {row["what"] for row in told(log, "models")} >= {"trained", "promoted", "rolled_back", "adopted"}
    assert [row["subject"] for row in told(log, "events", type="privacy.consent_granted")] == ["dora"]
    assert told(log, "feedback", what="reconciled")[0]["happened"] is True


def test_the_command_line_and_the_public_module_load_no_arrow() -> None:
    code = "import sys, aetherloop, runtime.cli; assert not {'pyarrow', 'duckdb', 'fsspec'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tables_of_no_rows_have_the_schema_of_their_kind(log: EventLog) -> None:
    for kind, rows in rows_of(log, after=0).items():
        assert rows.schema.equals(KINDS[kind].schema, check_metadata=True)
        assert isinstance(rows, pa.Table)


def test_columns_are_called_in_queries_as_duckdb_calls_them(log: EventLog) -> None:
    import duckdb

    for kind, rows in rows_of(log, after=0).items():
        with duckdb.connect() as connection:
            connection.register("rows", rows)
            found = connection.execute("SELECT column_name, column_type FROM (DESCRIBE rows)").fetchall()
        assert found == [(column.name, SQL[column.type]) for column in KINDS[kind].columns]


def test_a_log_rebuilt_from_digests_has_its_events_and_its_lineage_and_nothing_that_was_withheld(
    log: EventLog, tmp_path: Path
) -> None:
    fill_in_turns(log, ("refund",))
    forked(log, "refund", "refund-again", at_version=list(closings("refund"))[3])
    with OtlpFile(tmp_path / "logs.jsonl") as file:
        records = [record_of(event, detail="digest") for event in log.read_all()]
        file.append(logs_line(records, resource={names.LOG_ID: log.id}))
    with closing(open_log(tmp_path / "rebuilt.db")) as rebuilt:
        rebuild(rebuilt, [tmp_path / "logs.jsonl"])
        tables = rows_of(rebuilt, after=0)
        shared = ["event", "position", "type", "phase", "cause", "elapsed_ns"]
        assert tables["events"].select(shared).equals(rows_of(log, after=0)["events"].select(shared))
        assert {row["encoding"] for row in told(rebuilt, "events")} == {"withheld", "plain"}
        assert {row["ancestor"] for row in told(rebuilt, "lineage", session="refund-again")} == {
            "session/refund",
            "session/refund-again",
        }
        assert tables["messages"].num_rows == tables["actions"].num_rows == 0


def test_a_cycle_takes_as_long_as_its_span(log: EventLog) -> None:
    fill_in_turns(log, SESSIONS)
    for name in SESSIONS:
        spans = {span.span_id: span for span in session_spans(log, f"session/{name}")}
        for row in told(log, "cycles", session=name):
            span = spans[cycle_span_id(row["stream"], row["cycle"])]
            assert row["duration_ns"] == span.end - span.start
