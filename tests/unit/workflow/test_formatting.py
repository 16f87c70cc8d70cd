"""The one form of workflow files: lines, brackets, edges, comments, and what is refused."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from kit.formatted import becomes, form, node

from joinery.errors import InvalidWorkflow
from joinery.workflow.formatting import format_text
from joinery.workflow.formatting import text as formatting
from joinery.workflow.source import load

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_in_their_form(path: Path) -> None:
    assert format_text(path.read_bytes(), filename=str(path)) == path.read_text()


# -- lines and brackets ------------------------------------------------------------------


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


# -- edges ------------------------------------------------------------------


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


# -- comments ------------------------------------------------------------------


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


# -- JSON ------------------------------------------------------------------


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


# -- refusals ------------------------------------------------------------------


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
