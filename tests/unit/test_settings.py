"""Settings: which source wins, where each came from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime.errors import UsageError
from runtime.settings import UPLOAD_MARK, Settings, flat, in_upload, log_url, read_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("AETHER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_flags_win_over_the_environment_over_the_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aether.toml").write_text('max_sessions = 1\nhost_cpus = 1\nlog = "file.db"\n')
    monkeypatch.setenv("AETHER_MAX_SESSIONS", "2")
    monkeypatch.setenv("AETHER_HOST_CPUS", "2")
    read = read_settings({"max_sessions": 3, "log": None}, folder=tmp_path)
    settings = read.settings
    assert (settings.max_sessions, settings.host_cpus, settings.log) == (3, 2.0, "file.db")
    assert settings.disk_patience_s == Settings().disk_patience_s
    assert {name: read.sources[name] for name in ("max_sessions", "host_cpus", "log", "disk_patience_s")} == {
        "max_sessions": "flag",
        "host_cpus": "environment",
        "log": str(tmp_path / "aether.toml"),
        "disk_patience_s": "default",
    }
    assert set(read.sources) == set(flat(Settings().model_dump()))


def test_a_setting_in_a_table_has_a_variable_that_begins_with_the_tables_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aether.toml").write_text('[telemetry]\notlp = "http://a:4318"\nspans = false\n')
    monkeypatch.setenv("AETHER_TELEMETRY_OTLP", "http://b:4318")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    read = read_settings(folder=tmp_path)
    telemetry = read.settings.telemetry
    assert (telemetry.otlp, telemetry.spans, telemetry.content) == ("http://b:4318", False, "span_only")
    assert read.sources["telemetry.otlp"] == read.sources["telemetry.content"] == "environment"
    assert read.sources["telemetry.spans"] == str(tmp_path / "aether.toml")
    monkeypatch.setenv("AETHER_TELEMETRY_MAX_BYTES", "few")
    with pytest.raises(UsageError, match="AETHER_TELEMETRY_MAX_BYTES"):
        read_settings(folder=tmp_path)
    (tmp_path / "aether.toml").write_text('[telemetry]\nottlp = "x"\n')
    with pytest.raises(UsageError, match=r"2: unknown key 'telemetry\.ottlp'; did you mean 'otlp'"):
        read_settings(folder=tmp_path)


def test_settings_cannot_be_changed_once_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        read_settings(folder=tmp_path).settings.log = "x"  # frozen is what is tested


def test_an_unknown_variable_of_ours_is_refused_and_others_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERIAL", "yes")
    read_settings(folder=tmp_path)
    monkeypatch.setenv("AETHER_MAX_SESSION", "2")
    with pytest.raises(UsageError, match="AETHER_MAX_SESSION is no setting; did you mean 'max_sessions'"):
        read_settings(folder=tmp_path)


def test_an_unknown_key_of_the_file_is_answered_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "aether.toml"
    file.write_text("host_cpus = 1\n\nmax_session = 3\n")
    with pytest.raises(UsageError) as error:
        read_settings(folder=tmp_path)
    assert str(error.value) == f"{file}:3: unknown key 'max_session'; did you mean 'max_sessions'?"


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aether.toml").write_text("log = \n")
    with pytest.raises(UsageError, match=r"aether\.toml is not TOML"):
        read_settings(folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("AETHER_MAX_SESSIONS", "many"), ("AETHER_MAX_SESSIONS", "0"), ("AETHER_HOST_CPUS", "-1")],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=name):
        read_settings(folder=tmp_path)


def test_a_wrong_value_of_a_variable_is_not_blamed_on_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETHER_MAX_SESSIONS", "many")
    with pytest.raises(UsageError) as error:
        read_settings(folder=tmp_path)
    assert "aether.toml" not in str(error.value)
    assert "AETHER_MAX_SESSIONS" in str(error.value)


def test_without_a_log_it_lies_in_the_home(tmp_path: Path) -> None:
    assert log_url(Settings(home=tmp_path)) == str(tmp_path / "aether.db")


@pytest.mark.parametrize("given", ["logs/a.db", "sqlite:///logs/a.db", "./logs/a.db"])
def test_a_relative_log_lies_in_the_working_directory(tmp_path: Path, given: str) -> None:
    assert Path(log_url(Settings(log=given))) == Path.cwd() / "logs" / "a.db"


def test_an_absolute_log_and_a_database_stay_as_they_are(tmp_path: Path) -> None:
    assert log_url(Settings(log=f"sqlite:///{tmp_path}/a.db")) == str(tmp_path / "a.db")
    assert log_url(Settings(log="postgresql://db/aether")) == "postgresql://db/aether"


@pytest.mark.parametrize("given", ["a.db", "sqlite:///a.db", "../x/a.db"])
def test_a_log_inside_a_jobs_upload_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    upload = tmp_path / UPLOAD_MARK / "_ray_pkg_1"
    upload.mkdir(parents=True)
    monkeypatch.chdir(upload)
    with pytest.raises(UsageError, match=r"upload .*which Ray deletes with the job.*absolute path outside"):
        log_url(Settings(log=given))
    with pytest.raises(UsageError, match="upload"):
        log_url(Settings(log=str(upload / "a.db")))
    assert log_url(Settings(log=str(tmp_path / "a.db"))) == str(tmp_path / "a.db")
    assert log_url(Settings(home=tmp_path)) == str(tmp_path / "aether.db")
    assert in_upload(upload)
    assert not in_upload(tmp_path)
