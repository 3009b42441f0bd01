"""Where the traces of a log lie when nobody, the settings, or a command says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import UsageError
from runtime.settings import Settings, Telemetry
from runtime.telemetry.following import makers
from runtime.telemetry.traces import traces_url
from telemetry.log import EventLog


def test_a_command_comes_before_the_settings_and_those_before_the_folder_beside_the_log(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    beside = f"{log.url}.traces"
    assert traces_url(log, Settings()) == beside
    kept = Settings(telemetry=Telemetry(parquet="kept"))
    assert traces_url(log, kept) == str(tmp_path / "kept")
    assert traces_url(log, kept, "s3://bucket/traces") == "s3://bucket/traces"
    assert traces_url(log, kept, "beside") == beside
    assert traces_url(log, Settings(telemetry=Telemetry(parquet="beside"))) == beside


def test_a_folder_in_the_upload_of_a_job_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = tmp_path / "working_dir_files" / "job"
    upload.mkdir(parents=True)
    monkeypatch.chdir(upload)
    with pytest.raises(UsageError, match="this job's upload"):
        makers(Settings(telemetry=Telemetry(parquet="kept")))
    assert [maker.name for maker in makers(Settings(telemetry=Telemetry(parquet="beside")))] == ["traces"]
