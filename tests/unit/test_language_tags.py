"""Action tags become the calls that they say, and calls written as tags are read back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from loops.environments.tools.vault import handle_of
from loops.reasoners.language.ear import Ear
from loops.reasoners.language.tags import OPENING, Tag, parse, render, shown
from loops.spaces import ToolActions, ToolSpec
from telemetry.events import reason
from telemetry.events.values import ToolCalls
from tests.model_server import ModelServer, says
from tests.talk import FIND, PAY, WORDS, WRITE, Talk, Vaulted, language, tool

LIST = tool("list_files")
SHELL = tool("run_shell", command=WORDS, seconds={"type": "number"}, quiet={"type": "boolean"})
ORDER = tool("place_order", items={"type": "array"}, to={"anyOf": [{"$ref": "#/$defs/Person"}]})
TOOLS = ToolActions(tools=(FIND, WRITE, LIST, SHELL, ORDER))


def test_the_words_around_the_tags_are_the_answers_text() -> None:
    said = 'First I write.\n<aether-write path="a/b.txt">\nx < 1 && y\n</aether-write>\nThen <aether-list/> I look.'
    words, tags = parse(said, TOOLS)
    assert words == "First I write.\nThen\nI look."
    assert tags == (
        Tag("write_file", {"path": "a/b.txt", "content": "x < 1 && y\n"}),
        Tag("list_files", {}),
    )


def test_attributes_have_the_types_of_the_tools_schema() -> None:
    said = """<aether-shell seconds="2.5" quiet='true'>ls "a" &amp; b</aether-shell><aether-find-order order="7"/>"""
    assert parse(said, TOOLS)[1] == (
        Tag("run_shell", {"seconds": 2.5, "quiet": True, "command": 'ls "a" &amp; b'}),
        Tag("find_order", {"order": 7}),
    )
    wrong = parse('<aether-find_order order="seven"/>', TOOLS)[1]
    assert wrong == (Tag("find_order", {"order": "seven"}),), "the tool says what is wrong with it"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ('<aether-write path="a">never closed', "the tag is not closed; end it with </aether-write>"),
        ('<aether-write path="a"><aether-list/></aether-write>', "a tag stands within this tag"),
        ("<aether-write path=a>x</aether-write>", "the tag cannot be read; write <aether-NAME"),
        ("<aether-write>both?</aether-write>", "its text could be any of path, content"),
        ("<aether-list>all of them</aether-list>", "it takes no text"),
    ],
)
def test_a_tag_that_is_no_call_says_why(said: str, problem: str) -> None:
    _, tags = parse(said, TOOLS)
    assert str(tags[0].invalid).startswith(problem)
    assert tags[0].arguments == {}


def test_a_short_name_means_the_only_tool_it_can() -> None:
    two = ToolActions(tools=(WRITE, tool("write_mail", text=WORDS), tool("sell")))
    names = [
        tag.tool for tag in parse("<aether-write/><aether-write_mail>x</aether-write_mail><aether-shell/>", two)[1]
    ]
    assert names == ["write", "write_mail", "shell"]


plain: st.SearchStrategy[str] = st.text(alphabet=st.characters(blacklist_categories=["Cs"])) | st.sampled_from(
    ["<aether-x>", "</aether-write_file>", "&lt;aether-", "&amp;lt;/aether-x", '" a="b', "\n\n x \n", "/>", "&quot;"]
)
texts = st.lists(plain, max_size=4).map("".join)
numbers = st.integers(-(2**53), 2**53)
jsons: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | numbers | texts, lambda inner: st.lists(inner, max_size=3), max_leaves=6
)
written: st.SearchStrategy[tuple[ToolSpec, dict[str, JsonValue]]] = st.one_of(
    st.fixed_dictionaries({"path": texts, "content": texts}).map(lambda a: (WRITE, a)),
    st.fixed_dictionaries({"order": numbers}).map(lambda a: (FIND, a)),
    st.fixed_dictionaries({"command": texts, "seconds": numbers, "quiet": st.booleans()}).map(lambda a: (SHELL, a)),
    st.just((LIST, {})),
    st.lists(jsons, max_size=3).map(lambda items: (tool("buy", items={"type": "array"}), {"items": items})),
)


@given(st.lists(written, max_size=4))
def test_calls_written_as_tags_are_read_back_as_they_were(
    made: list[tuple[ToolSpec, dict[str, JsonValue]]],
) -> None:
    specs = {spec.name: spec for spec, _ in made}
    tools = ToolActions(tools=tuple(specs.values()))
    said = "So: " + " and ".join(render(spec.name, arguments, tools) for spec, arguments in made)
    _, tags = parse(said, tools)
    assert tags == tuple(Tag(spec.name, arguments) for spec, arguments in made)


@given(texts | st.lists(st.sampled_from([OPENING, "list", "/>", "<", "aether-", ">", "x"])).map("".join))
def test_any_text_is_read_without_an_error(said: str) -> None:
    words, tags = parse(said, TOOLS)
    assert OPENING not in words
    assert all(tag.tool is not None for tag in tags)


@given(st.lists(st.integers(1, 5), max_size=60))
def test_what_is_heard_of_a_stream_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    said = 'I write. <aether-write path="a">x < y</aether-write> 1 < 2 <aether-list/> done <'
    heard: list[str] = []
    ear = Ear(heard.append, redact=lambda text: text, hide_tags=True, by_line=False)
    at = 0
    for cut in cuts:
        ear(said[at : at + cut])
        at += cut
    ear(said[at:])
    ear.end()
    assert "".join(heard) == "I write.  1 < 2  done <"


def test_a_tag_that_never_ends_is_not_heard() -> None:
    assert shown('Look: <aether-write path="a">sec') == ("Look: ", '<aether-write path="a">sec')


def test_a_model_without_native_calls_is_told_the_tools_and_answers_in_tags() -> None:
    talk, heard = Talk(FIND, PAY, WRITE), list[str]()
    spelled = 'Paying.\n<aether-pay amount="5">4111-1111</aether-pay>\nand <aether-writ path="a">x</aether-writ>'
    with ModelServer() as server:
        server.will(says(spelled), says("Done."))
        reasoner = language(server.url, endpoints={"main": {"native_tools": False}})
        talk.says("Pay 5.")
        (event,) = talk.asks(reasoner, heard.append)
        assert isinstance(event, reason.Answered)
        assert isinstance(talk.decides(reasoner), ToolCalls)
        talk.does("paid", None)
        talk.hears()
        talk.asks(reasoner)
    assert event.text == "Paying.\nand"
    pays, writes = event.calls
    handle = handle_of(pays.arguments["card"])
    assert (pays.tool, pays.arguments["amount"], pays.invalid) == ("pay", 5, None)
    assert writes.invalid == "there is no tool 'writ'; there are: find_order, pay, write_file"
    assert "".join(heard) == "Paying.\n\nand "
    first, second = (sent.body for sent in server.sent)
    assert "tools" not in first
    assert "<aether-NAME" in first["messages"][0]["content"]
    assert "- pay: Does pay." in first["messages"][0]["content"]
    roles = [message["role"] for message in second["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert f'<aether-pay amount="5">\n[secret {handle}]</aether-pay>' in second["messages"][2]["content"]
    assert second["messages"][3]["content"].startswith('[result of pay]\n"paid"\n\n[error of writ]\nthere is no tool')


def test_a_secret_that_was_written_in_a_tag_is_known_again_by_its_handle() -> None:
    talk, handles = Talk(PAY), Vaulted()
    with ModelServer() as server:
        server.will(says('<aether-pay amount="5">4111-1111</aether-pay>'))
        reasoner = language(server.url, redact=handles, endpoints={"main": {"native_tools": False}})
        talk.says("Pay 5.")
        talk.asks(reasoner)
        talk.decides(reasoner)
        talk.does("paid")
        talk.hears()
        server.always = lambda request, body: says(body["messages"][2]["content"])(request, body)  # it says it again
        (event,) = talk.asks(reasoner)
    assert isinstance(event, reason.Answered)
    (again,) = event.calls
    assert "4111" not in again.model_dump_json()
    assert handles.vault.reveal({**again.arguments}) == {"card": "4111-1111", "amount": 5}
