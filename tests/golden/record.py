"""Records the golden logs of this folder: `python -m tests.golden.record NAME…`, the name of an example, or `shapes-N`
for the types that no session here holds.

A golden log is never recorded again because a test fails: it is what a released version wrote, and what every
later version must read to the same state. Record one when a new shape of event is released, beside the old; so one
that is there is not overwritten."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import orjson

from examples.refund.endpoint import running
from memory.project import EpisodeProjection
from runtime.hosting.recall import HostMemory
from telemetry.events import Draft, session
from telemetry.log import open_log
from telemetry.log.export import export_lines
from tests.golden.shapes import SHAPES
from tests.local import Local

GOLDEN = Path(__file__).parent
EXAMPLES = GOLDEN.parents[1] / "examples"
RUNS = {"maze": (7, 6), "lava": (11, 5), "refund": (3, 20)}
"""Seed and cycles of each."""
ENDPOINT = """
[reasoner.language.endpoints.main]
model = "scripted"
base_url = "{url}"
"""


def record(name: str) -> None:
    """Runs the example `name` for a few cycles and writes its log as `aether log export` does."""
    seed, cycles = RUNS[name]
    text = (EXAMPLES / f"{name}.toml").read_text(encoding="utf-8")
    text = text.replace('when = "surprise"', 'when = "always"')
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_log(Path(folder) / "log.db")) as log,
        running() as endpoint,
    ):
        if name == "refund":
            os.environ["SHOP_DB"] = str(Path(folder) / "shop.db")
            text = text.replace("[world_model]", f"{ENDPOINT.format(url=endpoint.url)}\n[world_model]")
            text = text.replace("above = 100 ", "above = 1000 ")
        with closing(HostMemory(EpisodeProjection(log, folder=Path(folder) / "memory"))) as memory:
            local = Local(log)
            local.run(name, text, seed=seed, cycles=cycles, memory=memory)
            local.close()
        (GOLDEN / f"{name}.jsonl").write_bytes(b"".join(export_lines(log.read(f"session/{name}"))))


def held() -> set[tuple[str, int]]:
    """Type and schema of every event of the golden logs."""
    lines = (orjson.loads(line) for path in GOLDEN.glob("*.jsonl") for line in path.read_bytes().splitlines())
    return {(line["type"], line["schema"]) for line in lines}


def record_shapes(name: str) -> None:
    """One event of every shape in SHAPES that no golden log holds, and a fork, which must begin a stream."""
    known = held()
    new = [event for event in SHAPES if (event.type, event.SCHEMA) not in known]
    with tempfile.TemporaryDirectory() as folder, closing(open_log(Path(folder) / "log.db")) as log:
        drafts = [Draft(event=event, command="shapes", ordinal=ordinal) for ordinal, event in enumerate(new)]
        *_, last = log.append("shapes", drafts, expected_version=0, epoch=1)
        if (session.Forked.model_fields["type"].default, session.Forked.SCHEMA) not in known:
            fork = session.Forked(parent="shapes", at_version=last.version, at_hash=last.hash.hex())
            log.append("shapes/fork", [Draft(event=fork, command="fork")], expected_version=last.version, epoch=1)
        (GOLDEN / f"{name}.jsonl").write_bytes(b"".join(export_lines(log.read_all())))


def main(names: list[str]) -> None:
    for name in names:
        if (GOLDEN / f"{name}.jsonl").exists():
            sys.exit(f"{name}.jsonl is there and stays as it is. Record another beside it.")
        if name.startswith("shapes"):
            record_shapes(name)
        else:
            record(name)


if __name__ == "__main__":
    main(sys.argv[1:])
