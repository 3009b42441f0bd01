"""A typed function becomes a tool: what a model sees of it, what it gets, and what is refused at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypedDict

from loops.environments.tools import Check, EffectKey, Person, Personal, Secret, tool
from loops.environments.tools.declare import Declaration, collect, declare
from loops.environments.tools.tool import Caller
from loops.environments.tools.vault import Vault
from loops.errors import ScenarioInvalid, ToolFailed

CALLER = Caller(session="session/1", person="ada", effect="e" * 64)


class Order(BaseModel):
    id: str
    cents: int


class Account(BaseModel):
    name: Annotated[str, Personal]
    token: Annotated[str, Secret]


class Keys(TypedDict):
    keys: list[Annotated[str, Secret]]


@dataclass
class Login:
    user: str
    password: Annotated[str, Secret]


def refund(
    order: Annotated[str, Field(description="The order's number")], key: EffectKey, who: Person, cents: int = 100
) -> dict[str, object]:
    """Gives money back."""
    return {"order": order, "key": key, "who": who, "cents": cents}


def run(declaration: Declaration, /, **arguments: Any) -> Any:  # noqa: ANN401  tests pass and compare any JSON
    return declaration.bind(Vault()).run(arguments, CALLER)


def test_the_schema_holds_the_models_parameters_and_neither_key_nor_person() -> None:
    spec = declare(refund, effect="keyed", timeout_s=5).spec
    assert (spec.name, spec.description, spec.effect_class, spec.timeout_s) == (
        "refund",
        "Gives money back.",
        "keyed",
        5,
    )
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "order": {"type": "string", "description": "The order's number"},
            "cents": {"type": "integer", "default": 100},
        },
        "required": ["order"],
        "additionalProperties": False,
    }


def test_key_and_person_come_from_the_caller() -> None:
    answer = run(declare(refund, effect="keyed"), order="7")
    assert answer == {"order": "7", "key": "e" * 64, "who": "ada", "cents": 100}


def test_the_check_before_sending_comes_from_the_caller_and_the_model_does_not_see_it() -> None:
    def send(text: str, check: Check) -> str:
        """Sends."""
        check()
        return text

    def stopped() -> None:
        raise ToolFailed("another owner has it", "fenced")

    declaration = declare(send)
    assert declaration.spec.parameters["properties"] == {"text": {"type": "string"}}
    assert run(declaration, text="a") == "a"
    with pytest.raises(ToolFailed, match="another owner has it") as failed:
        declaration.bind(Vault()).run({"text": "a"}, replace(CALLER, check=stopped))
    assert failed.value.kind == "fenced"


@pytest.mark.parametrize("name", ["key", "who"])
def test_a_model_cannot_pass_key_or_person(name: str) -> None:
    with pytest.raises(ToolFailed, match=f"{name}: Unexpected keyword argument") as failed:
        run(declare(refund, effect="keyed"), order="7", **{name: "mallory"})
    assert failed.value.kind == "invalid"


def test_arguments_are_given_as_their_types_and_results_as_json() -> None:
    def total(orders: list[Order]) -> Order:
        """Adds up."""
        return Order(id="all", cents=sum(order.cents for order in orders))

    assert run(declare(total), orders=[{"id": "a", "cents": 2}, {"id": "b", "cents": "3"}]) == {"id": "all", "cents": 5}


def test_a_bare_tool_is_unsafe_and_stays_callable() -> None:
    @tool
    def twice(n: int) -> int:
        """Doubles."""
        return 2 * n

    assert twice(4) == 8
    assert declare(twice).spec.effect_class == "unsafe"


def test_a_mutable_default_is_fresh_in_every_call() -> None:
    def add(word: str, to: list[str] = []) -> list[str]:  # noqa: B006  the mistake that is tested
        """Adds."""
        to.append(word)
        return to

    declaration = declare(add)
    assert run(declaration, word="a") == ["a"]
    assert run(declaration, word="b") == ["b"]


def test_a_coroutine_function_is_run_to_its_end() -> None:
    async def soon() -> str:
        """Later."""
        return "done"

    assert run(declare(soon)) == "done"


def test_wrong_arguments_are_said_in_words_without_their_values() -> None:
    with pytest.raises(ToolFailed) as failed:
        run(declare(refund, effect="keyed"), cents="many-hunter2")
    assert failed.value.kind == "invalid"
    assert "order: " in str(failed.value)
    assert "cents: Input should be a valid integer" in str(failed.value)
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize("value", [math.nan, [1.0, math.inf], {"a": {"b": -math.inf}}, (math.nan,)])
def test_nan_and_infinity_in_a_result_are_refused_and_not_turned_into_null(value: object) -> None:
    def measure() -> Any:  # noqa: ANN401  the loosest declaration is the one that would let it through
        """Measures."""
        return value

    with pytest.raises(ToolFailed, match="NaN or an infinity") as failed:
        run(declare(measure))
    assert failed.value.kind == "raised"


def test_a_result_of_another_type_is_refused_without_quoting_it() -> None:
    def login() -> Account:
        """Logs in."""
        return {"name": "ada", "token": "hunter2"}  # type: ignore[return-value]  # the mistake that is tested

    with pytest.raises(ToolFailed, match="a dict, is not what it declares") as failed:
        run(declare(login))
    assert "hunter2" not in str(failed.value)


def test_a_result_that_is_no_json_is_refused() -> None:
    def thing() -> object:
        """Makes one."""
        return object()

    with pytest.raises(ToolFailed, match="is no JSON"):
        run(declare(thing))


def test_secret_and_personal_arguments_are_named_wherever_the_mark_stands() -> None:
    def sign_up(
        name: Annotated[str, Personal],
        password: Annotated[str, Secret],
        old: Annotated[str, Secret] | None,
        login: Login,
        pin: SecretStr,
        plan: str,
    ) -> None:
        """Signs up."""

    spec = declare(sign_up).spec
    assert spec.secret == ("password", "old", "login", "pin")
    assert spec.personal == ("name",)


def test_secret_fields_of_a_result_become_handles_that_the_vault_reveals() -> None:
    def open_account() -> Account:
        """Opens one."""
        return Account(name="ada", token="hunter2")

    def rotate() -> Keys:
        """Rotates."""
        return {"keys": ["alpha-key", "beta-key"]}

    def log_in() -> Login:
        """Logs in."""
        return Login("ada", "hunter3")

    vault = Vault()
    results = [declare(function).bind(vault).run({}, CALLER) for function in (open_account, rotate, log_in)]
    for value in ("hunter2", "hunter3", "alpha-key", "beta-key"):
        assert value not in str(results)
    assert vault.reveal(results) == [
        {"name": "ada", "token": "hunter2"},
        {"keys": ["alpha-key", "beta-key"]},
        {"user": "ada", "password": "hunter3"},
    ]


def undocumented(n: int) -> int:
    return n


def untyped(n) -> int:  # type: ignore[no-untyped-def]  # the mistake that is tested
    """Has no type."""
    return int(n)


def anything(*numbers: int) -> int:
    """Takes many."""
    return sum(numbers)


def maybe_key(key: EffectKey | None) -> None:
    """Has a key or not."""


def fine(n: int) -> int:
    """Is fine."""
    return n


def other(m: int) -> int:
    """Has another parameter."""
    return m


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (undocumented, {}, "no docstring"),
        (untyped, {}, "'n' of the tool 'untyped' has no type"),
        (anything, {}, "every argument needs a name"),
        (maybe_key, {}, "is EffectKey, Person or Check, or it is not"),
        (fine, {"effect": "keyed"}, "needs a parameter of type EffectKey"),
        (fine, {"effect": "probeable"}, "probeable and probe= go together"),
        (fine, {"effect": "compensable"}, "compensable and undo= go together"),
        (fine, {"effect": "unsafe", "undo": fine}, "compensable and undo= go together"),
        (fine, {"effect": "probeable", "probe": other}, "needs its parameters: n"),
        (fine, {"effect": "replayable"}, "cannot be replayable"),
        (fine, {"timeout_s": 0}, "time-out above 0"),
        (fine, {"timeout_s": math.nan}, "time-out above 0"),
        (lambda: None, {}, "no name for a tool"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_where_it_is_declared(
    function: Any,  # noqa: ANN401  functions of all kinds
    options: dict[str, Any],
    words: str,
) -> None:
    with pytest.raises(TypeError, match=words):
        tool(**options)(function)


HEADER = "from loops.environments.tools import tool\n"


def test_the_tools_of_modules_are_collected_once_each(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tools_a.py").write_text(f"{HEADER}@tool\ndef one() -> int:\n    'One.'\n    return 1\nuno = one\n")
    (tmp_path / "tools_b.py").write_text("from tools_a import one\n")
    (tmp_path / "tools_c.py").write_text(f"{HEADER}@tool\ndef one() -> int:\n    'Another.'\n    return 1\n")
    (tmp_path / "tools_d.py").write_text("raise RuntimeError('no shop')\n")
    (tmp_path / "tools_e.py").write_text("x = 1\n")
    assert [one.spec.name for one in collect(["tools_a", "tools_b"], vault=Vault())] == ["one"]
    for modules, words in (
        (["tools_a", "tools_c"], "two tools are named 'one'"),
        (["tools_d"], "'tools_d' cannot be imported: RuntimeError: no shop"),
        (["tools_missing"], "'tools_missing' cannot be imported: ModuleNotFoundError"),
        (["tools_e"], "declares no tool"),
    ):
        with pytest.raises(ScenarioInvalid, match=words):
            collect(modules, vault=Vault())
