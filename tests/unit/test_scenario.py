"""A scenario that cannot be meant is answered with its line and the nearest name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from runtime.errors import UsageError
from runtime.scenario import Scenario, parse_scenario, read_scenario

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
HEAD = 'name = "x"\nenvironment = { id = "null:" }\n'


def refused(text: str) -> str:
    with pytest.raises(UsageError) as error:
        parse_scenario(text, source="s.toml")
    return str(error.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_every_example_is_a_scenario_and_its_text_is_pinned_whole(path: Path) -> None:
    file = read_scenario(path)
    assert file.text == path.read_text(encoding="utf-8")
    assert file.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert parse_scenario(file.text, source="log") == file


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            'name = "x"\nseeed = 3\n[environment]\nid = "null:"\n',
            "s.toml:2: unknown key 'seeed'; did you mean 'seed'?",
        ),
        (
            'name = "x"\n[environment]\nid = "null:"\nframe = 5\n',
            "s.toml:4: unknown key 'environment.frame'; did you mean 'frames'?",
        ),
        (HEAD + "[reasoner]\n\nholds = 2\n", "s.toml:5: unknown key 'reasoner.holds'; did you mean 'hold'?"),
        (
            HEAD + "[timeouts]\nsens_s = 2\n",
            "s.toml:4: unknown key 'timeouts.sens_s'; did you mean 'sense_s'?",
        ),
        (HEAD + "[memroy]\nrecall = 1\n", "s.toml:3: unknown key 'memroy'; did you mean 'memory'?"),
        (HEAD + "[pools.fast]\ngpu = 1\n", "s.toml:4: unknown key 'pools.fast.gpu'; did you mean 'gpus'?"),
    ],
)
def test_an_unknown_key_is_answered_with_its_line_and_the_nearest_name(text: str, says: str) -> None:
    assert refused(text) == says


RULES = """name = "x"
environment = { id = "null:" }

[[heart.rules]]
id = "a"
reason = "r"
actions = [1]

[[heart.rules]]
id = "b"
reason = "r"
actoins = [1]
"""


def test_a_key_in_the_second_table_of_an_array_is_answered_with_that_line() -> None:
    assert "s.toml:12: unknown key 'heart.rules.1.actoins'; did you mean 'actions'?" in refused(RULES)


def test_a_key_that_is_near_nothing_is_answered_with_the_names_there_are() -> None:
    said = refused(HEAD + "[reasoner]\nzzz = 1\n")
    assert said == "s.toml:4: unknown key 'reasoner.zzz'; known here: explore, hold, kind, language, planning, playbook"


def test_every_problem_of_a_scenario_is_said_at_once() -> None:
    said = refused('name = "x"\nseed = "three"\nsessions = 0\n[environment]\nid = "null:"\nframes = 1.5\n')
    assert [line.partition(": ")[0] for line in said.splitlines()] == ["s.toml:2", "s.toml:3", "s.toml:6"]
    assert "seed: Input should be a valid integer" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed = 1\n" + HEAD.replace('name = "x"\n', ""), "name: Field required"),
        (HEAD.replace('"x"', '"Not A Name"'), "s.toml:1: name:"),
        (
            HEAD + '[reasoner]\nkind = "magic"\n',
            "s.toml:4: reasoner.kind: Input should be 'explore', 'greedy', 'active_inference' or 'language'",
        ),
        (HEAD + "[timeouts]\nsense_s = 0\n", "s.toml:4: timeouts.sense_s: Input should be greater than 0"),
        (HEAD + "[timeouts]\nsense_s = inf\n", "s.toml:4: timeouts.sense_s:"),
        (HEAD + "[memory]\nrecall = 300\n", "s.toml:4: memory.recall:"),
        (HEAD + '[placement]\nsens = "host"\n', "s.toml:4: placement.sens"),
        (RULES.replace('"b"', '"a"').replace("actoins", "actions"), "two rules have the id 'a'"),
        (RULES.replace("actoins = [1]", ""), "rule 'b' needs at least one of actions, tools, region"),
    ],
)
def test_a_wrong_value_is_answered_with_its_line_and_what_is_wanted(text: str, says: str) -> None:
    assert says in refused(text)


def test_a_placement_that_names_no_pool_is_answered_with_the_pools_there_are() -> None:
    said = refused(HEAD + '[placement]\nreason = "gpu"\n[pools.big]\n')
    assert "placement.reason names the pool 'gpu'; there are: host, big" in said
    assert parse_scenario(HEAD + '[placement]\nreason = "big"\n[pools.big]\n', source="s").scenario.pools
    assert "cannot be called 'host'" in refused(HEAD + "[pools.host]\n")


@pytest.mark.parametrize("text", ["name = ", "name = 'a'\nname = 'b'", "[environment\n", "= 3"])
def test_what_is_not_toml_is_answered_with_where_it_stops(text: str) -> None:
    said = refused(text)
    assert said.startswith("s.toml is not TOML: ")
    assert "line" in said or "at end of document" in said


def test_a_file_that_cannot_be_read_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.toml cannot be read"):
        read_scenario(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(UsageError, match=r"latin\.toml cannot be read"):
        read_scenario(tmp_path / "latin.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_scenario(tmp_path)


def test_a_scenario_needs_no_more_than_a_name_and_an_environment() -> None:
    scenario = parse_scenario(HEAD, source="s").scenario
    assert (scenario.sessions, scenario.cycles, scenario.seed) == (1, None, 0)
    assert set(Scenario.model_fields) >= {"environment", "reasoner", "memory", "heart", "placement", "pools"}
