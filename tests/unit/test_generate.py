"""What is made from schemas: up to date, and only where a page says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import generate
from tools.event_docs import with_reference
from tools.event_schema import Schema
from tools.event_types import event_types, first_sentence

SCHEMA = Schema(
    {
        "$defs": {
            "message": {
                "x-kind": "part",
                "description": "What all have.",
                "type": "object",
                "properties": {"v": {"const": 1, "description": "Version."}},
                "required": ["v"],
            },
            "of_run": {"x-kind": "part", "description": "Run.", "properties": {}},
            "event": {"x-kind": "part", "description": "Event.", "properties": {}},
            "of_node": {"x-kind": "part", "description": "Node.", "properties": {}},
            "Thing": {
                "x-kind": "type",
                "description": "A thing: it is. More of it.",
                "type": "object",
                "properties": {"size": {"type": ["integer", "null"], "description": "a | b"}},
            },
            "thing.made": {
                "x-kind": "event",
                "description": "A thing was made.",
                "$ref": "#/$defs/message",
                "properties": {
                    "event": {"const": "thing.made"},
                    "data": {
                        "type": "object",
                        "properties": {
                            "things": {
                                "type": "array",
                                "items": {"$ref": "#/$defs/Thing"},
                                "description": "All.",
                            },
                            "names": {
                                "type": "object",
                                "additionalProperties": {"type": "string"},
                                "description": "By id.",
                            },
                        },
                        "required": ["things"],
                    },
                },
                "required": ["event", "data"],
                "examples": [{"v": 1}],
            },
        }
    }
)


def test_types() -> None:
    made = event_types(SCHEMA)
    assert 'EVENT_NAMES: Final = ("thing.made",)' in made
    assert "class ThingMade(_Message):" in made
    assert "    things: list[Thing]" in made
    assert "    names: NotRequired[dict[str, str]]" in made
    assert "    size: NotRequired[int | None]" in made


def test_only_marked_regions_of_a_page_are_made() -> None:
    begin, end = "<!-- made from schema.json: events -->", "<!-- end -->"
    page = with_reference(f"Before.\n\n{begin}\nold\n{end}\n\nAfter.\n", SCHEMA)
    assert page.startswith(f"Before.\n\n{begin}\n#### `thing.made`\n")
    assert page.endswith(f"{end}\n\nAfter.\n")
    assert "old" not in page
    assert "| `data.things` | list of [Thing](#thing) | yes | All. |" in page
    assert "| `data.names` | object of text |  | By id. |" in page
    assert with_reference(page, SCHEMA) == page


def test_a_bar_does_not_break_a_table() -> None:
    types = "<!-- made from schema.json: types -->\n<!-- end -->"
    assert "| `size` | integer or null |  | a \\| b |" in with_reference(types, SCHEMA)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("One. Two.", "One."), ("One: two.", "One."), ("One", "One."), ("One.", "One.")],
)
def test_first_sentences(text: str, expected: str) -> None:
    assert first_sentence(text) == expected


def test_check_tells_what_is_stale_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "MADE", {"a.txt": lambda: "new\n", "b.txt": lambda: "b\n"})
    (tmp_path / "b.txt").write_text("b\n")
    assert generate.main(["--check"]) == 1
    assert "a.txt" in capsys.readouterr().out
    assert not (tmp_path / "a.txt").exists()
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
