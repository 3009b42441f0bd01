"""The vocabulary at its edges: tags, refusals, sizes, names and ids."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from pydantic import ValidationError

from telemetry.errors import InvalidEvent, PayloadTooLarge, UnknownCriticalEvent
from telemetry.events import Event, Unknown, decode, encode, execute, learn, privacy, reason, sense, split_id
from telemetry.events.registry import MAX_PAYLOAD_BYTES
from telemetry.events.values import (
    Action,
    Array,
    ArrayObservation,
    AskHuman,
    Feedback,
    FilePart,
    Message,
    Move,
    Observation,
    Say,
    Text,
    TextPart,
    ToolCall,
    ToolCalls,
    ToolResult,
    Wait,
    digest_of,
)

ZERO = "0" * 64
ACTIONS: list[Action] = [
    Move(to=3),
    Move(to=Array.of([0.5, -1], dtype="float32")),
    ToolCalls(calls=(ToolCall(id="1", tool="search", arguments={"q": "x"}), ToolCall(id="2", tool="ls"))),
    Say(text="hello"),
    AskHuman(question="may I?"),
    Wait(),
]
OBSERVATIONS: list[Observation] = [
    ArrayObservation(name="image", array=Array.of(np.zeros((2, 2), dtype=np.uint8))),
    Text(name="mission", text="go to the green goal"),
    Message(
        role="user",
        parts=(TextPart(text="look:"), FilePart(name="a.png", media_type="image/png", digest=ZERO)),
    ),
    ToolResult(call="1", tool="search", content={"hits": [1, 2]}),
    Feedback(rating=-0.5, text="no", about="session/a@3"),
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: str(action.kind))
def test_an_action_keeps_its_kind_inside_an_event(action: Action) -> None:
    event = reason.Proposed(proposal=0, action=action, arguments=digest_of(action))
    payload = encode(event)
    assert orjson.loads(payload)["action"]["kind"] == action.kind
    back = decode(event.type, 1, payload)
    assert isinstance(back, reason.Proposed)
    assert (type(back.action), back.action) == (type(action), action)


@pytest.mark.parametrize("observation", OBSERVATIONS, ids=lambda seen: str(seen.kind))
def test_an_observation_keeps_its_kind_inside_an_event(observation: Observation) -> None:
    event = sense.Observed(observations=(observation,), digest=digest_of(observation))
    payload = encode(event)
    assert orjson.loads(payload)["observations"][0]["kind"] == observation.kind
    back = decode(event.type, 1, payload)
    assert isinstance(back, sense.Observed)
    assert (type(back.observations[0]), back.observations[0]) == (type(observation), observation)


def test_values_of_different_kinds_and_equal_fields_have_different_digests() -> None:
    assert digest_of(Say(text="x")) != digest_of(TextPart(text="x"))
    assert digest_of(Text(name="a", text="b"), Text(name="c", text="d")) != digest_of(
        Text(name="a", text="d"), Text(name="c", text="b")
    )


def test_a_privacy_event_that_this_version_does_not_know_is_refused() -> None:
    for name, schema in (
        ("privacy.key_rotated", 1),
        ("privacy.subject_erased", 2),
        ("privacy.consent_withdrawn", 9),
    ):
        with pytest.raises(UnknownCriticalEvent, match="upgrade aetherloop"):
            decode(name, schema, b"{}")


def test_a_newer_schema_of_a_known_type_stays_opaque() -> None:
    assert decode("learn.rewarded", 2, b"new") == Unknown(type="learn.rewarded", schema_number=2, payload=b"new")


@pytest.mark.parametrize(
    ("schema", "payload"),
    [
        (1, b"{}"),
        (1, b"\xff"),
        (1, b'{"reward": null, "episode_return": 0}'),
        (1, b'{"reward": NaN, "episode_return": 0}'),
        (1, b'{"reward": 1, "episode_return": 0, "more": 1}'),
        (0, b'{"reward": 1, "episode_return": 0}'),
    ],
)
def test_a_payload_that_is_not_of_its_type_is_refused(schema: int, payload: bytes) -> None:
    with pytest.raises(InvalidEvent, match=r"learn\.rewarded of schema"):
        decode("learn.rewarded", schema, payload)


def test_what_is_not_in_the_vocabulary_is_not_written() -> None:
    class Invented(Event):
        type: str = "learn.rewarded"

    with pytest.raises(InvalidEvent, match="Invented is not in the event vocabulary"):
        encode(Invented())


@pytest.mark.parametrize("content", [2**64, "\ud800", [{"deep": -(2**70)}]], ids=["integer", "surrogate", "nested"])
def test_what_stored_json_cannot_hold_is_refused_as_an_event(
    content: int | str | list[dict[str, int]],
) -> None:
    with pytest.raises(InvalidEvent, match="cannot be stored as JSON"):
        encode(learn.StrategyAdjusted(strategy="s", after=content, why="w"))  # type: ignore[arg-type]  # bad on purpose


def test_a_payload_above_the_limit_is_refused_with_the_way_out() -> None:
    fits = reason.Answered(model="m", text="x" * (MAX_PAYLOAD_BYTES - 100), finish="stop")
    assert len(encode(fits)) <= MAX_PAYLOAD_BYTES
    with pytest.raises(PayloadTooLarge, match=r"nothing was written.*record its digest"):
        encode(reason.Answered(model="m", text="x" * MAX_PAYLOAD_BYTES, finish="stop"))


def test_an_event_cannot_be_changed_and_takes_no_unknown_field() -> None:
    event = privacy.ConsentGranted(subject="a", purposes=("training",))
    with pytest.raises(ValidationError):
        event.subject = "b"  # frozen is what is tested
    with pytest.raises(ValidationError):
        privacy.ConsentGranted(subject="a", purposes=(), why="x")  # type: ignore[call-arg]  # bad on purpose


@pytest.mark.parametrize("digest", ["", "0" * 63, "G" * 64, "A" * 64, "0" * 65, "0" * 64 + "\n"])
def test_a_digest_is_64_lower_case_hexadecimal_digits(digest: str) -> None:
    with pytest.raises(ValidationError):
        execute.Cancelled(effect=digest, why="w")


@pytest.mark.parametrize(
    ("dtype", "shape", "data"), [("float32", (2,), "AAAA"), ("uint8", (1,), ""), ("bool", (), "AAA=")]
)
def test_an_array_whose_bytes_do_not_fit_its_shape_is_refused(dtype: str, shape: tuple[int, ...], data: str) -> None:
    with pytest.raises(ValidationError, match="needs"):
        Array.model_validate({"dtype": dtype, "shape": shape, "data": data})


def test_an_array_of_another_dtype_is_refused_by_name() -> None:
    with pytest.raises(InvalidEvent, match="dtype complex128 cannot be stored"):
        Array.of(np.zeros(2, dtype=complex))


def test_an_event_id_is_split_into_stream_and_version_and_nothing_else_is() -> None:
    assert split_id("session/7f3a@12") == ("session/7f3a", 12)
    for wrong in ("session/7f3a", "@3", "session/7f3a@", "session/7f3a@x", ""):
        with pytest.raises(InvalidEvent, match="is not an event id"):
            split_id(wrong)
