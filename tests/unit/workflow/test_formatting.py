"""The one form of workflow files: order, lines, quotes, comments, edges."""

from __future__ import annotations

import typing
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from joinery.errors import InvalidWorkflow
from joinery.workflow import model, model_refs, money, patience, tool_model
from joinery.workflow.formatting import format_text, order
from joinery.workflow.formatting import text as formatting
from joinery.workflow.formatting.order import Shape
from joinery.workflow.source import load

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def form(text: str) -> str:
    formatted = format_text(dedent(text))
    assert format_text(formatted) == formatted
    return formatted


def becomes(before: str, after: str) -> None:
    assert form(before) == dedent(after)


def node(text: str) -> str:
    """Formats the value of a key in a node, and returns what stands at that key."""
    lines = form(f"nodes:\n  a:\n    x: {text}\n").split("\n")
    assert lines[:2] == ["nodes:", "  a:"]
    return "\n".join(line[4:] for line in lines[2:-1]).removeprefix("x: ")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_in_their_form(path: Path) -> None:
    assert format_text(path.read_bytes(), filename=str(path)) == path.read_text()


# -- order ---------------------------------------------------------------------------------


def test_keys_have_an_order_and_names_keep_theirs() -> None:
    becomes(
        """\
        outputs: {b: 1, a: 2}
        nodes:
          z: {template: hi, type: template}
          a: {max_rounds: 3, unknown: 1, type: loop, until: "{{ true }}", another: 2}
        name: x
        edges: [start -> z -> a]
        version: 1
        mystery: 1
        inputs: {z: {default: {b: 1, a: 2}, type: object}, a: {}}
        """,
        """\
        version: 1
        name: x
        inputs: {z: {type: object, default: {b: 1, a: 2}}, a: {}}

        nodes:
          z: {type: template, template: hi}
          a: {type: loop, until: "{{ true }}", max_rounds: 3, unknown: 1, another: 2}

        edges: [start -> z -> a]
        outputs: {b: 1, a: 2}
        mystery: 1
        """,
    )


def test_schemas_and_data_of_the_author_keep_their_order() -> None:
    text = 'output: {score: {minimum: 0, type: integer}, a: {type: string}}\ntype: llm\nprompt: "?"'
    inside = form("nodes:\n  n:\n" + "".join(f"    {line}\n" for line in text.split("\n")))
    assert "{score: {minimum: 0, type: integer}, a: {type: string}}" in inside
    assert inside.index("type: llm") < inside.index("prompt:") < inside.index("output:")


SHAPES: list[tuple[Shape, type[Any]]] = [
    (order.WORKFLOW, model.Workflow),
    (order.INPUT, model.InputSpec),
    (order.AGENT, model.Agent),
    (order.DEFAULTS, model.Defaults),
    (order.RETRY, model.Retry),
    (order.CHECK, model.Check),
    (order.EDGE, model.Edge),
    (order.MODEL, model_refs.ModelAlias),
    (order.MODEL.parts["timeouts"], patience.ModelTimeouts),
    (order.MODEL.parts["limit"], patience.ModelLimit),
    (order.MODEL.parts["price"], money.PriceSpec),
    (order.BUDGET, money.Budget),
    (order.BREAKER, money.Breaker),
    *(
        (order.NODE.kinds[typing.get_args(kind.model_fields["type"].annotation)[0]], kind)
        for kind in typing.get_args(typing.get_args(model.Node)[0])
    ),
    *((order.TOOL.kinds[kind], made) for kind, made in tool_model.TOOL_CLASSES.items()),
]


@pytest.mark.parametrize(("shape", "part"), SHAPES, ids=[part.__name__ for _, part in SHAPES])
def test_every_key_of_the_model_has_its_place(shape: Shape, part: type[Any]) -> None:
    keys = [field.alias or name for name, field in part.model_fields.items()]
    assert sorted(shape.keys) == sorted(keys)
    assert set(shape.parts) <= set(keys) | set(order.NODE.parts) | set(order.MODEL.parts)


def test_every_type_of_node_and_kind_of_tool_has_its_shape() -> None:
    assert set(order.NODE.kinds) == set(model.NODE_TYPES)
    assert set(order.TOOL.kinds) == set(tool_model.TOOL_KINDS)


def test_an_alias_stays_below_what_it_names() -> None:
    becomes(
        """\
        outputs: &o {a: 1}
        agents: {b: {persona: *p}, a: &a {persona: &p hi}}
        nodes: *o
        version: 1
        """.replace("b: {persona: *p}, ", ""),
        """\
        version: 1
        agents: {a: &a {persona: &p hi}}
        outputs: &o {a: 1}
        nodes: *o
        """,
    )


def test_an_alias_at_another_kind_of_place_keeps_the_order() -> None:
    # Cases of a switch are tried in their order.
    text = """\
        inputs:
          a: &a {required: true, type: string}
          b: &b {required: true, type: string}
          c: *b
        nodes:
          s: {type: switch, cases: *a}
    """
    formatted = form(text)
    assert "a: &a {required: true, type: string}" in formatted
    assert "b: &b {type: string, required: true}" in formatted


def test_an_anchor_that_is_set_twice_keeps_its_place() -> None:
    text = "outputs: [&a 1, *a]\nname: *a\nnodes: {x: &a 2}\ninputs: *a\n"
    assert load(form(text)).data == load(text).data == {
        "outputs": [1, 1], "name": 1, "nodes": {"x": 2}, "inputs": 2,
    }  # fmt: skip


def test_anchors_on_keys_lists_and_items_are_kept() -> None:
    becomes(
        """\
        &k name: &n x
        nodes: &m
            a: &l
            - &i
              b: *n
            - *i
            *k : 1
        """,
        """\
        &k name: &n x

        nodes: &m
          a: &l
            - &i
              b: *n
            - *i
          *k : 1
        """,
    )


# -- lines and brackets ---------------------------------------------------------------------


def test_sections_stand_apart_and_empty_lines_are_single() -> None:
    becomes(
        """\


        version: 1


        name: x
        nodes:

            a:
                type: template



                template: hi
            b: {type: template, template: hi}
        edges:
        - start -> a


        - a -> b
        description: last


        """,
        """\
        version: 1

        name: x
        description: last

        nodes:
          a:
            type: template

            template: hi
          b: {type: template, template: hi}

        edges:
          - start -> a

          - a -> b
        """,
    )


def test_brackets_stay_where_they_fit_into_a_line() -> None:
    fits = f"{{a: {'x' * 80}, b: 1}}"
    assert node(fits) == fits
    assert node(f"{{a: {'x' * 90}, b: 1}}") == f"x:\n  a: {'x' * 90}\n  b: 1"
    assert node(f"[{'x' * 60}, {{a: 1}}, {'y' * 60}]") == (
        f"x:\n  - {'x' * 60}\n  - {{a: 1}}\n  - {'y' * 60}"
    )
    assert node("{a: 1,\n    b: {c: 1}}") == "x:\n  a: 1\n  b: {c: 1}"
    assert node("{ a : [ 1 , 2,], }") == "{a: [1, 2]}"
    assert node("{\n    }") == "{}"
    assert node("\n      a: 1") == "x:\n  a: 1"


def test_lists_in_lists_and_mappings_in_lists() -> None:
    becomes(
        """\
        x:
        - - 1
          -   - 2
        -
            a:
            - b: 1
              c: 2
        -
        - null
        - []
        """,
        """\
        x:
          - - 1
            - - 2
          - a:
              - b: 1
                c: 2
          - null
          - null
          - []
        """,
    )


def test_explicit_keys_directives_and_line_ends() -> None:
    text = '\ufeff%YAML 1.2\r\n---\r\n? name\r\n: "x"\r\n? "on"\r\n: a: "b\\r\\n"\r\n...\r\n'
    assert form(text) == 'name: x\n\n"on":\n  a: "b\\r\\n"\n'


# -- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ('"plain words"', "plain words"),
        ("'it''s'", "it's"),
        ('"Yes, send it"', "Yes, send it"),
        ('["Yes, send it"]', '["Yes, send it"]'),
        ('"https://a.example/b#c"', "https://a.example/b#c"),
        ("'{{ nodes.a.text }}'", '"{{ nodes.a.text }}"'),
        ('"{{ a ?? \\"b\\" }}"', "'{{ a ?? \"b\" }}'"),
        ("'a: b'", '"a: b"'),
        ('"a #b"', '"a #b"'),
        ("'# a'", '"# a"'),
        ('"on"', '"on"'),
        ("on", "on"),
        ("'no'", '"no"'),
        ('"012"', '"012"'),
        ('"null"', '"null"'),
        ("NULL", "null"),
        ("~", "null"),
        ("True", "true"),
        ("0x1F", "0x1F"),
        ("1.50", "1.50"),
        ("'30s'", "30s"),
        ('"2024-01-31"', '"2024-01-31"'),
        ('"1:30"', '"1:30"'),
        ('"./debate.yaml"', "./debate.yaml"),
        ('"<<"', '"<<"'),
        ('""', '""'),
        ("' a'", '" a"'),
        ('"caf\\u00e9"', "café"),
        ('"\\u00e9: \\U0001F600"', '"é: 😀"'),
        ('"a\\_b"', '"a\\_b"'),
        ('"a\\_b\\nc"', '"a\\_b\\nc"'),
        ('"café"', "café"),
        ("'C:\\d \"x\"'", "C:\\d \"x\""),
        ("'\\d {x}'", "'\\d {x}'"),
        ('"one\\ntwo"', "|-\n  one\n  two"),
        ('"one\\ntwo\\n"', "|\n  one\n  two"),
        ('["one\\ntwo"]', '["one\\ntwo"]'),
        ('"one\\n"', '"one\\n"'),
        ('"one \\ntwo"', '"one \\ntwo"'),
        ('"a\\tb\\nc"', '"a\\tb\\nc"'),
        ("|\n        one", "|\n  one"),
        ("|\n        one \n        two", "|\n  one \n  two"),
        ("|2-\n        one\n      two", "|2-\n    one\n  two"),
        (">\n        one\n        two\n\n        three", ">\n  one\n  two\n\n  three"),
        (">-  \n       one\n        two", ">-\n  one\n   two"),
        ("one\n      two", "one two"),
        ('"one\n      two: three"', '"one two: three"'),
        ('"one\n\n      two"', "|-\n  one\n  two"),
        ("one\n" + "      word\n" * 30, ">-\n  one" + " word" * 18 + "\n  word" + " word" * 11),
    ],
)  # fmt: skip
def test_texts(written: str, form: str) -> None:
    assert node(written) == form


def test_a_text_that_ends_in_empty_lines() -> None:
    becomes('x:\n  a: |+\n    b\n\n\n\n  c: 1\nd: "e\\n\\n"\n',
            'x:\n  a: |+\n    b\n\n\n\n  c: 1\n\nd: "e\\n\\n"\n')  # fmt: skip
    # At the end of a file nobody would see them, and editors take them away.
    assert form("a: |+\n  b\n\n\n") == 'a: "b\\n\\n\\n"\n'
    assert form("a: |+\n  b\n\n# end\n") == "a: |+\n  b\n\n# end\n"


def test_an_empty_value_stays_empty() -> None:
    becomes("nodes:\ninputs:\n   # later: 1\n", "inputs:\n  # later: 1\n\nnodes:\n")


# -- edges ------------------------------------------------------------------------------------


def test_edges_are_short_where_they_can_be() -> None:
    becomes(
        """\
        edges:
          - {to: b, from: a}
          - to: b  # why
            # more
            port: "true"
            from: a
          - {from: a, port: x, to: b, when: "{{ y }}"}
          - {from: "a b", to: c}
          - {from: a, to: b, port: null}
          - a->b,c  ->d
          - "a.x , b -> end"
          - a -> b.c
          - &e {from: a, to: b}
          - *e
        """,
        """\
        edges:
          - a -> b
          # more
          - a.true -> b  # why
          - {from: a, port: x, to: b, when: "{{ y }}"}
          - {from: a b, to: c}
          - {from: a, port: null, to: b}
          - a -> b, c -> d
          - a.x, b -> end
          - a -> b.c
          - &e {from: a, to: b}
          - *e
        """,
    )


# -- comments ---------------------------------------------------------------------------------


def test_comments_go_with_what_they_stand_at() -> None:
    becomes(
        """\
        # The file

        # its name
        name: x   # short
        version: 1
        nodes:   # all of them
          # first
          a:
            # asked
            prompt: hi   #why
            type: llm    # kind

            # the model
            model: {   # small
              temperature: 0,  # cold
              # named
              name: m }   # behind
            # end of a

          # between


          b: {type: template, template: hi} # short
          # end of nodes
        # edges
        edges:
        -   # odd
          a -> b
        #  - b -> c
        - # odder
          # still
          from: b
          to: c
          when: "{{ x }}"
          # end of b
        outputs:
          text: |   # text
            # no comment
           # between
          more:
            # lone
            "z"
        # The end
        """.replace("           # between\n          more", "          # between\n          more"),
        """\
        # The file

        version: 1
        # its name
        name: x  # short

        nodes:  # all of them
          # first
          a:
            type: llm  # kind
            # asked
            prompt: hi  #why

            # the model
            # small
            model:  # behind
              # named
              name: m
              temperature: 0  # cold
            # end of a

          # between

          b: {type: template, template: hi}  # short
          # end of nodes

        # edges
        edges:
          - a -> b  # odd
          #  - b -> c
          # odder
          # still
          - from: b
            to: c
            when: "{{ x }}"
            # end of b

        outputs:
          text: |  # text
            # no comment
          # between
          # lone
          more: z
        # The end
        """,
    )


def test_the_first_comment_of_a_file_stays_on_top() -> None:
    becomes("# yaml-language-server: x\nname: x\n# one\nversion: 1\n",
            "# yaml-language-server: x\n\n# one\nversion: 1\nname: x\n")  # fmt: skip
    becomes("# Rights\n--- # doc\nname: x\n", "# Rights\n# doc\nname: x\n")


def test_comments_that_are_aligned_stay_so() -> None:
    becomes(
        """\
        breaker:
            novelty: 0.1    # least
            token_surge: 3  # times
            depth: off   # none
            velocity: 1000         # a second
        """,
        """\
        breaker:
          token_surge: 3  # times
          novelty: 0.1    # least
          velocity: 1000  # a second
          depth: off  # none
        """,
    )


# -- JSON -------------------------------------------------------------------------------------


def test_json_stays_json() -> None:
    text = (
        '{"edges":[{"from":"a","to":"b"},"a->b"], "name":"caf\\u00e9 \\ud83d", "version" : 1,\t'
        '"inputs": {"x": {"default": [1.50, 1e3, {}, [], null, 12345678901234567890]}}}'
    )
    formatted = format_text(text, filename="x.json")
    assert formatted == dedent("""\
        {
          "version": 1,
          "name": "café \\ud83d",
          "inputs": {
            "x": {
              "default": [
                1.50,
                1e3,
                {},
                [],
                null,
                12345678901234567890
              ]
            }
          },
          "edges": [
            "a -> b",
            "a -> b"
          ]
        }
        """)
    assert format_text(formatted) == formatted


# -- refusals -----------------------------------------------------------------------------------


def refused(text: str | bytes, filename: str = "x.yaml") -> list[tuple[str, int]]:
    with pytest.raises(InvalidWorkflow) as caught:
        format_text(text, filename=filename)
    return [(problem.code, problem.line) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        "a: [1", "a: 1\na: 2\nb: 1\nb: 2", "\ta: 1", "a: !x 1", "1: a", "a: {{ b }}", "a: *b",
        "- a", "", "# only a comment", "a: .nan", "a: 1\n---\nb: 1", b"\xff", '{"a": 1, "a": 2}',
        "a: " + "[" * 70 + "]" * 70,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_as_validation_does(text: str | bytes) -> None:
    problems = load(text).problems
    assert problems
    assert refused(text) == [(problem.code, problem.line) for problem in problems]


def test_a_file_that_is_called_json_must_be_json() -> None:
    assert refused("a: 1", "x.JSON") == [("format.not_json", 1)]
    assert refused('{"a": 1} # c', "x.json") == [("format.not_json", 1)]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("a: 1\nb: {c: [1, 3]}\n", 3),
        ("a: 1\nb: {c: [1, 2.0]}\n", 3),
        ("a: 1\n# why\nb: {c: [1]}\n", 3),
        ("a: true\n# why\nb: {c: [1, 2]}\n", 1),
        ("a: 1\n", 3),
        ("b: {c: [1, 2]}\na: 1\n", 1),
        ("a: [\n", 1),
        ("a: 1\nb: {c: [1, 2]}\n", 2),
    ],
)
def test_what_would_be_damaged_is_refused(
    written: str, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formatting, "write", lambda _tree: written)
    assert refused("a: 1\n# why\nb: {c: [1, 2]}\n") == [("format.unsafe", line)]
