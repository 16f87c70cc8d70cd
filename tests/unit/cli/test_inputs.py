from __future__ import annotations

import io

import pytest

from joinery import limits
from joinery.errors import InvalidInput, TooLarge
from joinery_cli.inputs import read_inputs

DECLARED = {
    "text": {"type": "string"},
    "count": {"type": "integer"},
    "share": {"type": "number"},
    "strict": {"type": "boolean"},
    "options": {"type": "object"},
    "items": {"type": "array"},
    "tone": {"type": "string", "default": "calm"},
}


def read(*arguments):
    given = read_inputs(arguments, DECLARED)
    assert given.pop("tone") == "calm"
    return given


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("text=hello", "hello"),
        ("text=", ""),
        ("text=a=b:=c", "a=b:=c"),
        ("text=two\nlines", "two\nlines"),
        ('text:="@handle"', "@handle"),
        ("count=42", 42),
        ("count=-7", -7),
        ("count:=42", 42),
        ("share=0.5", 0.5),
        ("share=1e-3", 0.001),
        ("share=3", 3),
        ("strict=true", True),
        ("strict=false", False),
        ('options:={"a": [1, null]}', {"a": [1, None]}),
        ("items:=[1, 2]", [1, 2]),
    ],
)
def test_values_become_the_declared_type(argument, value):
    (found,) = read(argument).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("count=4.5", "input 'count' must be a whole number, not '4.5'"),
        ("count=", "must be a whole number, not ''"),
        ("count=１２", "must be a whole number"),
        ("count:=1.0", "input 'count' must be an integer, not a number"),
        ("share=much", "input 'share' must be a number, not 'much'"),
        ("share=nan", "must be a number"),
        ("share=1e999", "must be a number"),
        ("share:=1e999", "is not JSON"),
        ("strict=yes", "input 'strict' must be true or false, not 'yes'"),
        ("options={}", "input 'options' is an object: write options:='{\"key\": 1}'"),
        ("items=1,2", "input 'items' is an array: write items:='[1, 2]'"),
        ("items:=[1", "input 'items': what follows := is not JSON"),
        ("items:=" + "[" * 100_000, "nested too deeply"),
        ("text:=hello", "for plain text write text=…"),
        ("items:=NaN", "is not JSON"),
        ("nope=1", "no input 'nope'; declared: text, count"),
        ("just text", "--input 'just text' is not name=text, name=@file or name:=json"),
        ("=x", "is not name=text"),
        ("text=half \udcff of a pair", "surrogate"),
    ],
)
def test_what_is_wrong_is_said(argument, says):
    with pytest.raises(InvalidInput) as caught:
        read(argument)
    assert says in caught.value.message


def test_everything_is_told_at_once():
    declared = {"a": {"type": "integer"}, "b": {"type": "string", "required": True}}
    with pytest.raises(InvalidInput) as caught:
        read_inputs(["a=x", "c=1"], declared)
    rows = caught.value.details["errors"]
    assert [(row["input"], row["code"]) for row in rows] == [
        ("a", "type"),
        ("c", "unknown"),
        ("b", "missing"),
    ]


def test_an_input_given_twice_is_refused():
    for second in ("text=b", "text:=1"):
        with pytest.raises(InvalidInput, match="'text' is given twice"):
            read("text=a", second)
    with pytest.raises(InvalidInput, match="'count' is given twice"):
        read("count=x", "count=1")


# -- files -----------------------------------------------------------------------------


def test_a_file_is_taken_byte_for_byte(tmp_path):
    file = tmp_path / "doc.txt"
    file.write_bytes("Zeile eins\r\nZeile zwei ü\n".encode())
    assert read(f"text=@{file}") == {"text": "Zeile eins\r\nZeile zwei ü\n"}
    file.write_bytes(b"\xef\xbb\xbf12\n")
    assert read(f"count=@{file}") == {"count": 12}


def test_json_comes_from_a_file_too(tmp_path):
    file = tmp_path / "items.json"
    file.write_text("[1, 2]")
    assert read(f"items:=@{file}") == {"items": [1, 2]}
    file.write_text("[1, 2")
    with pytest.raises(InvalidInput, match=r"items\.json' is not JSON"):
        read(f"items:=@{file}")


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("süß".encode())))
    assert read("text=@-") == {"text": "süß"}


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "doc.txt").write_text("at home")
    assert read("text=@~/doc.txt") == {"text": "at home"}


def test_a_missing_file(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        read(f"text=@{tmp_path}/none.txt")
    assert caught.value.message == (
        f"input 'text': cannot read '{tmp_path}/none.txt': No such file or directory"
    )


def test_a_directory(tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot read '.*': Is a directory"):
        read(f"text=@{tmp_path}")


def test_no_name_at_all():
    with pytest.raises(InvalidInput, match="cannot read ''"):
        read("text=@")


def test_a_name_with_a_null():
    with pytest.raises(InvalidInput, match="cannot read"):
        read("text=@a\0b")


def test_a_file_that_cannot_be_read(tmp_path):
    file = tmp_path / "loop"
    file.symlink_to(file)
    with pytest.raises(InvalidInput, match="symbolic links"):
        read(f"text=@{file}")


def test_a_binary_file(tmp_path):
    file = tmp_path / "image.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InvalidInput) as caught:
        read(f"text=@{file}")
    assert caught.value.message.endswith("image.png' is not UTF-8 text: byte 0x89 at offset 0")


def test_a_file_above_the_limit_is_named_with_size_and_limit(tmp_path):
    file = tmp_path / "huge.txt"
    file.write_bytes(b"x" * (limits.INPUT_BYTES + 5))
    with pytest.raises(TooLarge) as caught:
        read(f"text=@{file}")
    assert caught.value.message == (
        f"input 'text': '{file}' has 1,048,581 bytes; the limit is 1,048,576"
    )
    file.write_bytes(b"x" * limits.INPUT_BYTES)
    assert len(read(f"text=@{file}")["text"]) == limits.INPUT_BYTES


def test_a_file_without_an_end_is_refused_soon():
    with pytest.raises(TooLarge, match="more than 1,048,576 bytes"):
        read("text=@/dev/zero")


def test_text_on_the_command_line_has_the_same_limit():
    with pytest.raises(TooLarge, match="the limit is 1,048,576"):
        read("text=" + "é" * (limits.INPUT_BYTES // 2 + 1))
