"""`aether why` and `aether model why` as commands, on a log where sessions taught a model and others act by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from telemetry.log import open_log
from tests.aether import Aether
from tests.local import Local
from tests.taught import LEARNT, Chain, taught


@dataclass(frozen=True)
class Told:
    """The commands, and the ids of what the chain is made of; its log is read by nobody else any more."""

    aether: Aether
    chain: Chain
    decision: str
    ends: tuple[str, ...]


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    aether = Aether()
    aether.home.mkdir()
    with closing(open_log(aether.log)) as log:
        local = Local(log)
        chain = taught(local, aether.folder / "tiny")
        decision, ends = chain.decisions("act-0")[-1], tuple(chain.end(f"teach-{n}") for n in range(LEARNT))
        local.close()
    yield Told(aether, chain, decision, ends)
    aether.remove()


def test_the_chain_of_a_decision_is_a_tree_of_ids_in_plain_lines(told: Told) -> None:
    shown = told.aether("why", told.decision)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0].startswith(f"{told.decision}  decided in cycle")
    assert any(f"acted by {told.chain.model}" in line for line in lines)
    for link in ("promoted by model/tiny@5", "made by model/tiny@2", f"learnt from {LEARNT}", *told.ends):
        assert any(link in line for line in lines), link
    assert "\x1b" not in shown.out
    assert "aether why ID" in shown.err


def test_as_json_the_chain_is_nodes_and_links_that_all_open(told: Told) -> None:
    said = told.aether("why", told.decision, "--json").json
    known = {row["id"] for row in said["rows"]}
    assert said["root"] == told.decision
    assert {told.chain.model, told.chain.training, told.chain.promoted, *told.ends} <= known
    assert {end for link in said["links"] for end in (link["before"], link["after"])} <= known
    assert {"before": told.chain.training, "how": "learnt from", "count": LEARNT, "said": ""} in said["counts"]
    for opened in (told.chain.model, told.chain.base, told.chain.training, told.ends[0]):
        assert told.aether("why", opened, "--json").json["rows"][0]["id"]


def test_forward_leads_from_a_session_to_what_acts_by_the_model_that_it_taught(told: Told) -> None:
    said = told.aether("why", "teach-0", "--forward", "--json").json
    hows = {(link["how"], link["after"]) for link in said["links"]}
    assert ("learnt from by", told.chain.training) in hows
    assert ("made", told.chain.model) in hows
    assert ("promoted by", told.chain.promoted) in hows


def test_a_model_is_asked_about_by_its_name(told: Told) -> None:
    shown = told.aether("model", "why", "tiny", "--limit", "1")
    assert shown.out.startswith(f"{told.chain.model}  trained model")
    assert f"… {LEARNT - 1} more; with --limit {LEARNT} all are named" in shown.out


def test_what_is_not_there_ends_with_3_and_the_nearest(told: Told) -> None:
    for arguments in (("why", "teech-0"), ("model", "why", "tinny")):
        missed = told.aether(*arguments)
        assert missed.code == 3
        assert "did you mean" in missed.err
    assert told.aether("why", "session/act-0@9999", "--json").json["error"]["exit_code"] == 3
