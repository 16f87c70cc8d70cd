"""Templates: where expressions begin and end, and what is put in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joinery.errors import PermanentExpression
from joinery.workflow.expressions import (
    DictScope,
    ExpressionSyntax,
    compile_value,
    escape,
    parse_template,
    references,
    syntax_errors,
    to_text,
)

SCOPE = DictScope(
    {
        "inputs": {
            "text": "hello", "n": 5, "whole": 3.0, "half": 0.5, "yes": True, "none": None,
            "list": ["a", {"b": 1.0}], "evil": "{{ inputs.secret }}", "secret": "s3cret",
            "umlaut": ["ü"],
        },
        "nodes": {"judge": {"text": "fine", "output": {"score": 71}}},
        "loop": {"round": 2, "previous": {"judge": {"text": "before"}}},
        "run": {"id": "run_1"},
        "session": {"id": "s_1"},
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain }} text", "plain }} text"),
        ("{ single } {", "{ single } {"),
        ("{{ inputs.text }}", "hello"),
        ("{{inputs.text}}!", "hello!"),
        ("a {{ inputs.text }} b {{ nodes.judge.output.score }}", "a hello b 71"),
        ("{{ inputs.whole }} {{ inputs.half }}", "3 0.5"),
        ("{{ inputs.yes }} {{ inputs.none }}", "true null"),
        ("{{ inputs.list }}", '["a",{"b":1}]'),
        ("{{ inputs.umlaut }}", '["ü"]'),
        ("{{ loop.round }}: {{ loop.previous.judge.text }}", "2: before"),
        ("{{ run.id }} {{ session.id }}", "run_1 s_1"),
        ('{{ "{{" }} and {{ "}}" }}', "{{ and }}"),
        ("{{ '}}' }}", "}}"),
        ('{{ {"a": {"b": inputs.n}}}}', '{"a":{"b":5}}'),
        ('{{{"a": inputs.n}}}', '{"a":5}'),
        ("{{ /* }} */ inputs.n }}", "5"),
        (r"{{ $contains(inputs.text, /l|\}\}/) }}", "true"),
        ("{{ inputs.n / 2 }} {{ inputs.n / 5 }}", "2.5 1"),
        ("{{ inputs.`text` }}", "hello"),
        ("{{ inputs.nope ?? 'none' }}", "none"),
        ('{{ inputs.nope ?? "none" }}', "none"),
        ("{{ inputs.nope ?? {} }}", "{}"),
        ("{{ inputs.nope ?? 5 }}", "5"),
        ("{{ inputs.text ?? 'none' }}", "hello"),
        ("{{ inputs.none ?? 'none' }}", "null"),
    ],
)
def test_renders(template: str, text: str) -> None:
    assert parse_template(template).render(SCOPE) == text


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ inputs.n }}", 5),
        ("  {{ inputs.n }}\n", 5),
        ("{{ inputs.list }}", ["a", {"b": 1.0}]),
        ("{{ inputs.none }}", None),
        ("{{ nodes.judge.output }}", {"score": 71}),
        ("{{ nodes.judge.output.score >= 70 }}", True),
        ("{{ inputs.n }}{{ inputs.n }}", "55"),
        ("n={{ inputs.n }}", "n=5"),
        ("{{ inputs.nope ?? [1, {}] }}", [1, {}]),
        ("text", "text"),
    ],
)
def test_value_is_native_for_a_single_expression(template: str, value: Any) -> None:
    assert parse_template(template).value(SCOPE) == value


def test_a_default_is_a_new_value_each_time() -> None:
    template = parse_template("{{ inputs.nope ?? [] }}")
    template.value(SCOPE).append(1)
    assert template.value(SCOPE) == []


def test_inserted_text_is_never_evaluated() -> None:
    assert parse_template("{{ inputs.evil }}").render(SCOPE) == "{{ inputs.secret }}"
    assert parse_template("{{ inputs.evil & '!' }}").render(SCOPE) == "{{ inputs.secret }}!"
    assert compile_value({"a": ["{{ inputs.evil }}"]}).value(SCOPE) == {
        "a": ["{{ inputs.secret }}"]
    }


@pytest.mark.parametrize(
    ("template", "offset"),
    [
        ("{{", 0), ("text {{ inputs.x", 5), ("{{ inputs.x }", 0), ("{{ }}", 3),
        ("{{ 'a }}", 0), ("ok {{ inputs.n }} {{ `x }}", 18), ("{{ /* }}", 0), ("{{ /a }}", 0),
        ("{{ a..b }}", 6), ("x{{ inputs. }}", 11),
    ],
)  # fmt: skip
def test_malformed_templates_say_where(template: str, offset: int) -> None:
    with pytest.raises(ExpressionSyntax) as caught:
        parse_template(template)
    assert caught.value.code == "expression.syntax"
    assert caught.value.offset == offset


def test_all_errors_of_a_template_are_found() -> None:
    errors = syntax_errors("{{ inputs. }} {{ inputs.n }} {{ foo }} {{ $eval('1') }}")
    assert [error.code for error in errors] == [
        "expression.syntax", "expression.unknown_name", "expression.not_allowed",
    ]  # fmt: skip
    assert "{{ foo }}" in str(errors[1])


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("{{ inputs.nope }}", "inputs.nope"),
        ("{{ nodes.judge.output.scor }}", "nodes.judge.output.scor"),
        ("{{ nodes.other.text }}", "nodes.other.text"),
        ("{{ inputs.none.x }}", "inputs.none.x"),
        ("{{ inputs.text.x }}", "inputs.text.x"),
        ("{{ nodes.judge.output.scor > 3 }}", "nodes.judge.output.scor"),
        ("{{ inputs.text & inputs.nope }}", "inputs.nope"),
        ("{{ $count(inputs.nope) }}", "inputs.nope"),
    ],
)
def test_a_missing_value_is_an_error_that_names_the_path(template: str, named: str) -> None:
    with pytest.raises(PermanentExpression) as caught:
        parse_template(template).value(SCOPE)
    assert named in caught.value.message
    assert "??" in caught.value.message
    assert caught.value.details["path"] == named


def test_a_rendered_text_is_bounded() -> None:
    scope = DictScope({"inputs": {"x": "x" * 5_000_000}})
    template = parse_template("{{ inputs.x }}" * 4)
    with pytest.raises(PermanentExpression, match="longer than"):
        template.render(scope)


def test_nested_values() -> None:
    value = compile_value(
        {"score": "{{ nodes.judge.output.score }}", "list": ["{{ inputs.n }}", 1, None, "x"]}
    )
    assert value.value(SCOPE) == {"score": 71, "list": [5, 1, None, "x"]}
    assert {r.text for r in value.references} == {"nodes.judge.output.score", "inputs.n"}
    assert references({"{{ inputs.key }}": 1}) == frozenset()
    with pytest.raises(ExpressionSyntax):
        compile_value(["{{ nope }}"])


# -- properties -----------------------------------------------------------------------------

numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
braces = st.text(alphabet="{}\"' \\`/*ab.$?", max_size=40)


@settings(deadline=None)
@given(st.text() | braces)
def test_any_text_goes_through_escaped(text: str) -> None:
    template = parse_template(escape(text))
    assert template.render(SCOPE) == text
    assert not template.references


@settings(deadline=None)
@given(st.text() | braces, st.text(), st.text())
def test_what_is_put_in_comes_out_as_it_was(inserted: str, before: str, after: str) -> None:
    scope = DictScope({"inputs": {"x": inserted, "secret": "s3cret"}})
    template = parse_template(f"{escape(before)}{{{{ inputs.x }}}}{escape(after)}")
    assert template.render(scope) == before + inserted + after
    assert parse_template("{{ inputs.x }}").value(scope) == inserted


@settings(deadline=None)
@given(json_values)
def test_values_keep_their_type_and_render_as_json(value: Any) -> None:
    scope = DictScope({"inputs": {"x": value}})
    assert parse_template("{{ inputs.x }}").value(scope) == value
    if not isinstance(value, str):
        assert json.loads(to_text(value)) == value


@settings(deadline=None)
@given(st.text() | braces)
def test_any_text_parses_or_says_why(text: str) -> None:
    try:
        parse_template("{{" + text)
    except ExpressionSyntax as error:
        assert error.message
        assert 0 <= error.offset <= len(text) + 2
