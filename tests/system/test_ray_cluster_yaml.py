"""ray_cluster.yaml, read as `ray up` reads it: filled with Ray's defaults, then checked against its schema.

Nothing here touches AWS: both functions work on the file alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import cast

import jsonschema
import pytest
import yaml
from pydantic import JsonValue
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]

Config = dict[str, JsonValue]


def read() -> Config:
    return cast(Config, yaml.safe_load((ROOT / "ray_cluster.yaml").read_text()))


def accept(config: Config) -> Config:
    prepared = cast(Config, prepare_config(copy.deepcopy(config)))
    validate_config(prepared)
    return prepared


def table(config: Config, *path: str) -> Config:
    for key in path:
        config = cast(Config, config[key])
    return config


def text(config: Config, key: str) -> str:
    return "\n".join(cast(list[str], config[key]))


def test_ray_accepts_the_cluster_file() -> None:
    accept(read())


def test_the_head_is_a_cpu_machine_that_is_never_a_worker() -> None:
    config = accept(read())
    head = table(config, "available_node_types", str(config["head_node_type"]))
    resources = table(head, "resources")
    assert cast(int, resources["CPU"]) > 0
    assert "GPU" not in resources
    assert head["max_workers"] == 0


@pytest.mark.parametrize(("name", "gpus"), [("worker_cpu", None), ("worker_gpu", 1)])
def test_workers_start_at_none_and_grow_with_demand(name: str, gpus: int | None) -> None:
    worker = table(accept(read()), "available_node_types", name)
    assert worker["min_workers"] == 0
    assert cast(int, worker["max_workers"]) >= 1
    assert cast(int, table(worker, "resources")["CPU"]) > 0
    assert table(worker, "resources").get("GPU") == gpus


def test_the_dashboard_listens_on_loopback_and_a_token_is_asked_for() -> None:
    config = accept(read())
    assert "--dashboard-host=127.0.0.1" in text(config, "head_start_ray_commands")
    for commands in ("head_setup_commands", "worker_setup_commands"):
        assert "RAY_AUTH_MODE=token" in text(config, commands)
    assert "~/.ray/auth_token" in table(config, "file_mounts")


def test_every_node_installs_the_project_with_the_pinned_versions() -> None:
    config = accept(read())
    for commands in ("head_setup_commands", "worker_setup_commands"):
        installs = [line for line in cast(list[str], config[commands]) if "pip install" in line and "boto3" not in line]
        assert installs
        assert all("-c ~/aetherloop/constraints.txt" in line for line in installs)


def test_every_mounted_file_of_the_repository_exists() -> None:
    mounts = [str(local) for local in table(read(), "file_mounts").values()]
    missing = [local for local in mounts if not local.startswith("~") and not (ROOT / local).exists()]
    assert missing == []


def drop_resources(config: Config) -> None:
    del table(config, "available_node_types", "worker_gpu")["resources"]


def misspell_a_key(config: Config) -> None:
    config["available_node_typs"] = {}


def count_workers_in_words(config: Config) -> None:
    table(config, "available_node_types", "worker_cpu")["max_workers"] = "eight"


def name_a_head_that_is_not_there(config: Config) -> None:
    config["head_node_type"] = "head_gpu"


def ask_for_more_than_the_limit(config: Config) -> None:
    table(config, "available_node_types", "worker_cpu")["min_workers"] = 99


@pytest.mark.parametrize(
    ("breaking", "error"),
    [
        (drop_resources, jsonschema.ValidationError),
        (misspell_a_key, jsonschema.ValidationError),
        (count_workers_in_words, jsonschema.ValidationError),
        (name_a_head_that_is_not_there, ValueError),
        (ask_for_more_than_the_limit, ValueError),
    ],
)
def test_ray_refuses_a_broken_copy(breaking: Callable[[Config], None], error: type[Exception]) -> None:
    config = read()
    breaking(config)
    with pytest.raises(error):
        accept(config)
