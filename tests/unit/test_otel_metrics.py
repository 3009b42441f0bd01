"""Metrics: what a training measures, under which names, and how a process hands it to a collector."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import textwrap
import urllib.request

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint

from telemetry.otel import names
from telemetry.otel.measures.points import metrics_of
from telemetry.otel.measures.totals import Totals
from telemetry.otel.metrics import HTTP, LOOPBACK, TrainingMeter, beside, providing
from tests.aether import ROOT
from tests.collector import collecting

ABOUT = {"aetherloop.model.name": "maze", "aetherloop.model.kind": "jepa"}
INSTRUMENTS: list[names.Instrument | names.Measure] = [
    *(value for value in vars(names).values() if isinstance(value, names.Instrument)),
    *(*names.MEASURES, *names.WATCHED),
]
ATTRIBUTES = [
    value for name, value in vars(names).items() if isinstance(value, str) and name.isupper() and "/" not in value
]
GENERAL = {"otel.metric.overflow", "error.type", "server.address", "server.port", "http.response.status_code"}
"""Names of the general conventions."""

MEASURE = """
    import sys
    from telemetry.otel import metrics
    from telemetry.otel.metrics import TrainingMeter, exporting
    metrics.LAST_EXPORT_MS = 60_000  # a collector is waited for, however long it stalls
    with exporting(sys.argv[1], protocol=sys.argv[2], said=lambda text: print("said:", text, file=sys.stderr)):
        meter = TrainingMeter(model="maze", kind="jepa", workers=2)
        meter.stepped(30)
        meter.looked(loss=1.5, parts={"sigreg": 0.25}, held_out=0.5)
        meter.ended({"error_over_copy": 0.125}, seconds=3.0)
    print("done", "opentelemetry.sdk" in sys.modules)
"""


def measured(exporters: str, protocol: str = HTTP, **variables: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: a global provider is set once."""
    return subprocess.run(
        (sys.executable, "-c", textwrap.dedent(MEASURE), exporters, protocol),
        env={"PYTHONPATH": str(ROOT), "PATH": "", **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )


Points = dict[tuple[str, str | None], NumberDataPoint | HistogramDataPoint]


def points(reader: InMemoryMetricReader) -> Points:
    """By the metric's name and the term of the loss, if it is of one."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        (metric.name, str(part) if (part := (point.attributes or {}).get(names.LOSS_PART)) else None): point  # type: ignore[misc]  # of these instruments there are no exponential ones
        for each in data.resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def value(found: Points, instrument: names.Instrument, part: str | None = None) -> float:
    point = found[instrument.name, part]
    assert isinstance(point, NumberDataPoint)
    return point.value


def test_a_training_measures_its_loss_its_error_and_how_long_it_took() -> None:
    reader = InMemoryMetricReader()
    meter = TrainingMeter(model="maze", kind="jepa", workers=2, meter=MeterProvider([reader]).get_meter("test"))
    for steps, loss in ((10, 2.0), (30, 1.5)):
        meter.stepped(steps)
        meter.looked(loss=loss, parts={"sigreg": loss / 10, "latent": loss / 2}, held_out=loss / 4)
    meter.ended({"error_over_copy": 0.125, "error_over_linear": 0.5, "rank": 9}, seconds=3.5)
    found = points(reader)
    assert value(found, names.LOSS) == 1.5
    assert value(found, names.LOSS_TERM, "sigreg") == pytest.approx(0.15)
    assert value(found, names.LOSS_TERM, "latent") == pytest.approx(0.75)
    assert value(found, names.HELD_OUT) == 0.375
    assert value(found, names.STEPS) == 30
    assert value(found, names.WORKERS) == 2
    assert (value(found, names.OVER_COPY), value(found, names.OVER_LINEAR)) == (0.125, 0.5)
    took = found[names.DURATION.name, None]
    assert isinstance(took, HistogramDataPoint)
    assert (took.count, took.sum, took.attributes) == (1, 3.5, ABOUT)


def test_a_training_that_went_wrong_says_by_what_and_steps_made_again_count_once() -> None:
    reader = InMemoryMetricReader()
    meter = TrainingMeter(model="maze", kind="jepa", workers=1, meter=MeterProvider([reader]).get_meter("test"))
    for steps in (10, 30, 20, 40):  # a worker was lost after 30
        meter.stepped(steps)
    meter.ended({}, seconds=1.0, error="Collapsed")
    found = points(reader)
    assert value(found, names.STEPS) == 40
    assert found[names.DURATION.name, None].attributes == {**ABOUT, "error.type": "Collapsed"}
    assert (names.OVER_COPY.name, None) not in found


def test_names_are_as_the_conventions_ask_for() -> None:
    found = [*(one.name for one in INSTRUMENTS), *(name for name in ATTRIBUTES if "." in name)]
    assert len(found) == len({*found})
    for name in found:
        assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", name)
        ours = name.startswith("aetherloop.")
        assert ours or name.startswith("gen_ai.") or name in GENERAL
    for one in INSTRUMENTS:
        assert re.fullmatch(r"1|s|\{[a-zA-Z]+\}", one.unit)
        assert one.description.endswith(".")


def test_a_collector_gets_them_over_http_with_whose_they_are() -> None:
    with collecting() as collector:
        ran = measured("otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
    assert (ran.stdout, ran.stderr) == ("done True\n", "")
    assert collector.services == {"aetherloop"}
    found = collector.metrics
    (loss,) = found["aetherloop.training.loss"].gauge.data_points
    assert loss.as_double == 1.5
    assert {one.key: one.value.string_value for one in loss.attributes} == ABOUT
    steps = found["aetherloop.training.steps"]
    assert (steps.sum.data_points[0].as_int, steps.sum.is_monotonic, steps.unit) == (30, True, "{step}")
    assert found["aetherloop.training.duration"].histogram.data_points[0].sum == 3.0


def test_a_collector_gets_them_over_grpc_where_that_is_asked_for() -> None:
    with collecting() as collector:
        ran = measured("otlp", "grpc", OTEL_EXPORTER_OTLP_ENDPOINT=collector.grpc_url.replace("grpc:", "http:"))
    assert (ran.stdout, ran.stderr) == ("done True\n", "")
    assert collector.metrics["aetherloop.training.steps"].sum.data_points[0].as_int == 30


def test_a_protocol_that_there_is_not_is_said() -> None:
    ran = measured("otlp", "http/json")
    assert (
        ran.stderr
        == "said: no metrics go out by otlp: there is no protocol 'http/json' here, only http/protobuf and grpc\n"
    )


def test_a_service_may_have_another_name_and_the_console_is_stderr() -> None:
    ran = measured("console", OTEL_SERVICE_NAME="mine", OTEL_RESOURCE_ATTRIBUTES="team=a")
    assert ran.stdout == "done True\n"
    attributes = json.loads(ran.stderr)["resource_metrics"][0]["resource"]["attributes"]
    assert (attributes["service.name"], attributes["team"]) == ("mine", "a")


@pytest.mark.parametrize("exporters", ["none", "", " none , "])
def test_where_nobody_exports_no_sdk_is_loaded(exporters: str) -> None:
    ran = measured(exporters)
    assert (ran.stdout, ran.stderr) == ("done False\n", "")


def test_an_exporter_that_is_not_known_is_said_and_the_others_go_on() -> None:
    with collecting() as collector:
        ran = measured("zipkin, otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert ran.stderr == "said: metrics do not go out by 'zipkin', only by console, otlp, prometheus\n"
    assert "aetherloop.training.loss" in collector.metrics


def test_a_collector_that_is_not_there_is_said_once_and_ends_nothing() -> None:
    ran = measured("otlp", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert ran.stdout == "done True\n"
    said = ran.stderr.splitlines()  # an attempt failed, and it was the last: on a busy machine only the second
    assert 1 <= len(said) <= 2
    assert all(line.startswith("said: metrics: ") for line in said)
    assert len({*said}) == len(said)


def scraped(url: str) -> list[str]:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return [line for line in answer.read().decode().splitlines() if not line.startswith("#")]


def test_prometheus_finds_what_is_measured_on_loopback_and_what_follows_from_events_beside_it() -> None:
    totals = Totals(began=1)
    totals.add(names.CYCLE_COUNT, "maze", value=3)
    totals.record(names.SURPRISE_NATS, "maze", value=-1.5)
    totals.record(names.CYCLE_S, "maze", value=0.003)
    said: list[str] = []
    with providing(
        "prometheus",
        said=said.append,
        endpoint=("localhost", 0),
        elsewhere=lambda: metrics_of(totals.series(), began=1, now=2),
    ) as provided:
        assert provided is not None
        assert provided.url is not None
        assert re.fullmatch(r"http://localhost:[0-9]+/metrics", provided.url)
        TrainingMeter(model="maze", kind="jepa", workers=2, meter=provided.provider.get_meter("test")).stepped(7)
        lines = scraped(provided.url)
    assert 'aetherloop_cycles_closed_total{gen_ai_agent_name="maze"} 3.0' in lines
    assert 'gen_ai_invoke_agent_duration_seconds_bucket{gen_ai_agent_name="maze",le="0.004"} 1.0' in lines
    assert 'gen_ai_invoke_agent_duration_seconds_sum{gen_ai_agent_name="maze"} 0.003' in lines
    assert 'aetherloop_surprise_bucket{gen_ai_agent_name="maze",le="-1.0"} 1.0' in lines
    assert not any(line.startswith("aetherloop_surprise_sum") for line in lines), (
        "of values of either sign there is none"
    )
    assert any(line.startswith("aetherloop_training_steps_total{") for line in lines)
    assert said == []
    with pytest.raises(OSError, match="refused"):
        scraped(provided.url)


def test_trainings_beside_sessions_are_found_at_the_port_after_theirs() -> None:
    assert LOOPBACK == ("localhost", 9464)
    assert beside(LOOPBACK) == ("localhost", 9465)
    assert beside(("::1", 0)) == ("::1", 0)


def test_a_port_that_is_taken_is_said_with_what_to_do_and_the_command_goes_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said: list[str] = []
        with providing("prometheus", said=said.append, endpoint=("127.0.0.1", port)) as provided:
            assert provided is not None
            assert provided.url is None
    assert said == [
        f"no metrics go out by prometheus: 127.0.0.1:{port} cannot be had (Address already in use). "
        "Another process serves there, or choose another OTEL_EXPORTER_PROMETHEUS_HOST and _PORT"
    ]


def test_what_follows_from_events_goes_to_a_collector_with_the_time_that_it_began() -> None:
    totals = Totals(began=1_000)
    totals.add(names.CYCLE_COUNT, "maze", value=3)
    totals.record(names.SURPRISE_NATS, "maze", value=-1.5)
    totals.record(names.MODEL_TOKENS, "chat", "openai", "m", "m", "input", value=900)
    with collecting() as collector:
        ran = subprocess.run(
            (sys.executable, "-c", textwrap.dedent(JOINED), totals.kept()),
            env={"PYTHONPATH": str(ROOT), "PATH": "", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url},
            capture_output=True,
            text=True,
            timeout=240,
            check=True,
        )
    assert ran.stderr == ""
    found = collector.metrics
    (cycles,) = found["aetherloop.cycles.closed"].sum.data_points
    assert (cycles.as_int, cycles.start_time_unix_nano) == (3, 1_000)
    assert found["aetherloop.cycles.closed"].sum.is_monotonic
    (surprise,) = found["aetherloop.surprise"].histogram.data_points
    assert (surprise.count, surprise.HasField("sum"), surprise.min) == (1, False, -1.5)
    (tokens,) = found["gen_ai.client.token.usage"].histogram.data_points
    assert (tokens.sum, [*tokens.explicit_bounds]) == (900, [*names.TOKENS])
    assert collector.services == {"aetherloop"}


JOINED = """
    import sys
    from telemetry.otel import metrics
    from telemetry.otel.measures.points import metrics_of
    from telemetry.otel.measures.totals import Totals
    from telemetry.otel.metrics import providing
    metrics.LAST_EXPORT_MS = 60_000
    totals = Totals.taken_up(sys.argv[1])
    def elsewhere():
        return metrics_of(totals.series(), began=totals.began, now=2_000)
    with providing("otlp", said=lambda text: print("said:", text, file=sys.stderr), elsewhere=elsewhere) as provided:
        provided.provider.get_meter("test").create_counter("one").add(1)
"""


def test_several_in_one_process_leave_the_logger_as_it_was_whoever_ends_first() -> None:
    logger = logging.getLogger("opentelemetry")
    heard: list[str] = []
    first, second = (providing("prometheus", said=heard.append, endpoint=("localhost", 0)) for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    meanwhile = logger.propagate
    logger.error("something")
    second.__exit__(None, None, None)
    assert (meanwhile, logger.propagate, heard) == (False, True, ["metrics: something"])
