"""Spans are as OpenTelemetry's conventions for generative AI ask, with and without content."""

from __future__ import annotations

from collections.abc import Iterator

import jsonschema
import opentelemetry.semconv._incubating.attributes.gen_ai_attributes as released
import orjson
import pytest

from telemetry.otel import names
from telemetry.otel.content import Content
from telemetry.otel.span import Attributes, Span
from telemetry.otel.spans import SpanFold
from telemetry.otel.spans.rules import RULES
from tests.genai import OPERATIONS, SCHEMAS, TYPES
from tests.golden.test_golden import FAITHFUL, read
from tests.histories import Held

LOGS = [name for name in FAITHFUL if not name.startswith("shapes")]


@pytest.fixture(params=[(name, content) for name in LOGS for content in (False, True)], ids=str)
def spans(request: pytest.FixtureRequest) -> list[Span]:
    name, content = request.param
    events = list(read(name))
    return SpanFold(Held(events), content=Content(messages=content)).fold(events)


def held(spans: list[Span]) -> Iterator[Attributes]:
    for span in spans:
        yield span.attributes
        yield from (event.attributes for event in span.events)
        yield from (link.attributes for link in span.links)


def conventional(attributes: Attributes) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in attributes.items() if not name.startswith("aetherloop."))


def test_an_operation_has_its_name_its_kind_and_what_is_required_of_it(spans: list[Span]) -> None:
    seen = [span for span in spans if names.OPERATION in span.attributes]
    assert seen
    for span in seen:
        name = str(span.attributes[names.OPERATION])
        operation = OPERATIONS[name]
        assert [required for required in operation.required if required not in span.attributes] == []
        assert span.kind in operation.kinds
        by = None if operation.named_by is None else span.attributes.get(operation.named_by)
        assert span.name == (name if by is None else f"{name} {by}")


def test_attributes_are_the_conventions_or_ours_and_of_the_conventions_types(spans: list[Span]) -> None:
    for attributes in held(spans):
        for name, value in conventional(attributes):
            assert type(value) is TYPES[name], (name, value)


def test_an_error_has_a_status_and_a_class(spans: list[Span]) -> None:
    for span in spans:
        assert (span.error is None) == (names.ERROR_TYPE not in span.attributes)


def test_scores_are_events_of_the_conventions_name_with_a_name_of_their_own(spans: list[Span]) -> None:
    scores = [event for span in spans for event in span.events if event.name == names.EVALUATION]
    assert scores
    for score in scores:
        assert score.attributes[names.EVALUATION_NAME]


def test_content_follows_the_conventions_schemas() -> None:
    seen = set()
    for log in LOGS:
        events = list(read(log))
        for attributes in held(SpanFold(Held(events), content=Content(messages=True)).fold(events)):
            for name in SCHEMAS.keys() & attributes.keys():
                jsonschema.validate(orjson.loads(str(attributes[name])), SCHEMAS[name])
                seen.add(name)
    assert seen == {*SCHEMAS}


def test_every_name_of_the_conventions_that_we_use_is_among_its_facts() -> None:
    used = {name for rule in RULES.values() for name in (*rule.attributes, *rule.content)}
    assert {name for name in used if not name.startswith("aetherloop.")} <= {*TYPES}


def test_names_are_those_of_the_released_package_but_for_what_it_does_not_hold_yet() -> None:
    package = {value for name, value in vars(released).items() if name.startswith("GEN_AI_")}
    ours = {name for name in TYPES if name.startswith("gen_ai.")}
    assert {name for name in ours - package if not name.startswith("gen_ai.memory.")} == set()
