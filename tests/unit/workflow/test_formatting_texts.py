"""How texts, numbers and truth values look in the one form of workflow files."""

from __future__ import annotations

import pytest
from kit.formatted import becomes, form, node


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ('"plain words"', "plain words"),
        ("'it''s'", "it's"),
        ('"Yes, send it"', "Yes, send it"),
        ('["Yes, send it"]', '["Yes, send it"]'),
        ('[-, b]', '["-", b]'),
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
