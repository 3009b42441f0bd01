"""The shipped recipes, over recorded sessions: a maze with a world model, a lava grid, and a shop's agent."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest
from pydantic import JsonValue

from runtime.fork import fork
from telemetry.datasets.build import Pin, build
from telemetry.datasets.recipe import Recipe, parse, shipped
from telemetry.events import Draft
from telemetry.events.reason import Decided
from telemetry.events.sense import Observed
from telemetry.events.values import Message, Say, TextPart, digest_of
from telemetry.log import EventLog, open_log
from telemetry.log.imports import import_lines
from tests.views import Views

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NAMES = ["active-inference", "conversation", "episodic-retrieval", "execution-feedback", "world-modelling"]
CLOSED = 41
"""Version of the refund session at which its third cycle is closed: two calls were made, and nothing said yet."""

Row: TypeAlias = dict[str, JsonValue]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    with closing(recorded(tmp_path_factory.mktemp("recipes"), "maze", "lava", "refund")) as found:
        yield found


def recorded(folder: Path, *names: str) -> EventLog:
    found = open_log(str(folder / "log.db"))
    for name in names:
        with (GOLDEN / f"{name}.jsonl").open("rb") as lines:
            import_lines(found, lines)
    return found


def recipe_of(name: str) -> Recipe:
    return parse(shipped()[name].read_text(encoding="utf-8"))


def rows_of(log: EventLog, name: str, out: Path, **parameters: str) -> list[Row]:
    """What the recipe makes of the log now, in the dataset's order."""
    recipe = recipe_of(name)
    recipe = recipe.model_copy(update={"format": "jsonl", "parameters": recipe.parameters | parameters})
    folder = build(recipe, Pin(log.id, log.position(), Views.of(log).ask), out=out, threads=2).folder
    files = [folder / f"{split}.jsonl" for split in recipe.split.shares]
    return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]


def test_these_are_the_recipes_that_are_shipped() -> None:
    assert sorted(shipped()) == NAMES
    assert [recipe_of(name).name for name in NAMES] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_describes_every_field_and_its_rows_name_events_of_their_log(
    log: EventLog, name: str, tmp_path: Path
) -> None:
    made = build(recipe_of(name), Pin(log.id, log.position(), Views.of(log).ask), out=tmp_path / name, threads=2)
    assert made.manifest.rows > 0
    assert [field.name for field in made.manifest.fields if not field.meaning] == []
    known = {one.id for one in log.read_all()}
    for row in rows_of(log, name, tmp_path / "rows"):
        events = row["events"]
        assert isinstance(events, list)
        assert len(events) == len(set(map(str, events)))
        assert known.issuperset(map(str, events))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_gives_the_same_digest_with_other_threads_and_batches(
    log: EventLog, name: str, tmp_path: Path
) -> None:
    digests = {
        build(
            recipe_of(name),
            Pin(log.id, log.position(), Views.of(log, threads=threads, batch=batch).ask),
            out=tmp_path / str(threads),
            threads=threads,
        ).manifest.digest
        for threads, batch in ((1, 1), (2, 5), (4, 1000))
    }
    assert len(digests) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_takes_one_scenario_where_it_is_asked_to(log: EventLog, name: str, tmp_path: Path) -> None:
    everything = rows_of(log, name, tmp_path / "all")
    refunds = rows_of(log, name, tmp_path / "refund", scenario="refund")
    assert refunds == [row for row in everything if row["scenario"] == "refund"]


def test_a_transition_ends_in_what_the_next_one_begins_with(log: EventLog, tmp_path: Path) -> None:
    rows = rows_of(log, "world-modelling", tmp_path / "rows", scenario="maze")
    assert len(rows) == 5
    for row, after in itertools.pairwise(rows):
        assert after["step"] == int(str(row["step"])) + 1
        assert row["next_observation"] == after["observation"]
        assert row["next_achieved"] == after["achieved"]
    assert all(row["action"] and row["predicted_mean"] and row["error"] is not None for row in rows)


def test_a_decision_says_which_option_it_chose_and_how_far_its_prediction_was_off(
    log: EventLog, tmp_path: Path
) -> None:
    rows = rows_of(log, "active-inference", tmp_path / "rows")
    assert len(rows) == 21
    for row in rows:
        options, chosen = row["option_actions"], row["chosen"]
        assert isinstance(options, list)
        assert chosen is None or json.loads(str(options[int(str(chosen))])) == row["action"]
    maze = [row for row in rows if row["scenario"] == "maze"]
    assert [row["error"] is None for row in maze] == [False] * 5 + [True]


def test_feedback_stands_beside_what_it_is_about(log: EventLog, tmp_path: Path) -> None:
    rows = rows_of(log, "execution-feedback", tmp_path / "rows", scenario="refund")
    said = {str(row["action"]): row["said"] for row in rows if row["said"]}
    assert list(said.values()) == [["And refund order 1002 as well."], ["Then refund order 1003, the bicycle."]]
    assert {row["outcome"] for row in rows} == {"succeeded"}
    assert [row["arguments"] for row in rows if row["tool"] == "find_order"] == [
        {"order": f"100{n}"} for n in (1, 2, 3)
    ]


def test_what_was_recalled_stands_by_rank_and_similarity(log: EventLog, tmp_path: Path) -> None:
    found: dict[object, list[tuple[float, float]]] = {}
    for row in rows_of(log, "episodic-retrieval", tmp_path / "rows", scenario="maze"):
        found.setdefault(row["cycle"], []).append((float(str(row["place"])), float(str(row["score"]))))
        assert row["vector"]
    for hits in found.values():
        assert [place for place, _ in sorted(hits)] == list(range(1, len(hits) + 1))
        scores = [score for _, score in sorted(hits)]
        assert scores == sorted(scores, reverse=True)


def test_a_conversation_is_what_a_chat_template_takes_with_a_mask_for_each_message(
    log: EventLog, tmp_path: Path
) -> None:
    (row,) = rows_of(log, "conversation", tmp_path / "rows", scenario="refund")
    messages, tools = row["messages"], row["tools"]
    assert isinstance(messages, list)
    assert isinstance(tools, list)
    roles = [message["role"] for message in messages if isinstance(message, dict)]
    assert roles[:3] == ["user", "assistant", "tool"]
    assert row["loss_mask"] == [1 if role == "assistant" else 0 for role in roles]
    assert messages[1] == {
        "content": "Let me look at order 1001.",
        "role": "assistant",
        "tool_calls": [
            {
                "function": {"arguments": {"order": "1001"}, "name": "find_order"},
                "id": "call_97b5a815e8be_0",
                "type": "function",
            }
        ],
    }
    assert messages[2] == {
        "content": '{"customer":"ada","item":"a kettle","order":"1001","paid":30.0,"refunded":0.0}',
        "name": "find_order",
        "role": "tool",
        "tool_call_id": "call_97b5a815e8be_0",
    }
    assert [tool["type"] for tool in tools if isinstance(tool, dict)] == ["function"] * len(tools)


def test_a_fork_learns_from_its_own_answers_and_only_reads_those_of_its_parent(tmp_path: Path) -> None:
    log = recorded(tmp_path, "refund")
    branch = fork(log, "refund", at=CLOSED, new="branch")
    assert len(rows_of(log, "conversation", tmp_path / "before")) == 1, "a fork that said nothing teaches nothing"
    heard = Message(role="user", parts=(TextPart(text="Never mind."),))
    said = Say(text="As you wish.")
    drafts = [
        Draft(event=Observed(observations=(heard,), digest=digest_of(heard)), command="4.sense", cycle=4),
        Draft(event=Decided(action=said, arguments=digest_of(said), why="alone"), command="4.decide", cycle=4),
    ]
    head = log.head(f"session/{branch}")
    assert head is not None
    log.append(head.stream, drafts, expected_version=head.version, epoch=head.epoch)
    parent, own = sorted(rows_of(log, "conversation", tmp_path / "after"), key=lambda row: row["session"] == "branch")
    assert isinstance(parent["messages"], list)
    assert isinstance(own["messages"], list)
    assert own["messages"][:-2] == parent["messages"][: len(own["messages"]) - 2]
    assert own["loss_mask"] == [0] * (len(own["messages"]) - 1) + [1]
    assert (own["split"], own["tools"]) == (parent["split"], parent["tools"])
    log.close()
