"""Writes data as YAML in every style that an author might mix, with comments in all places."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from joinery.workflow.source import load

TEXTS = [
    "", " ", "a", "on", "yes", "No", "null", "~", "true", "012", "0x1F", "1e3", ".5", "1:30",
    "2024-01-31", "30s", "./debate.yaml", "a ", " a", "\ta", "a\tb", "a\n", "a\n\n", "\na", "\n",
    "\n\n", "a\n\n\nb", "  a\nb", "a\n  b\n c\n", "a \nb\n", "a\n \nb", "a\n\t\nb", "\ta\nb\n",
    "a\r\nb", "a\rb", "# no comment", "a #b", "a#b", "a: b", "a:b", "a:", ":a", "- a", "-a", "? a",
    "{{ inputs.x }}", "Hi {{ inputs.x }}: {{ 'y' }}!", '{{ x ?? "none" }}', "it's", "say \"hi\"",
    "both ' and \"", "back\\slash", "\\n", "'", '"', "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`",
    "<<", "=", "---", "...", "--- a", "[a]", "a, b", "{}", "\x85", "a\x85b\nc", "a\u2028b", "\xa0a",
    "a\u200bb", "\ufeff", "\x00\x07", "\x7f", "😀", "👩‍👩‍👧 a\nb", "\ud83d",
    "é" * 30, "word " * 40 + "end", "x" * 200, "日本語: か", "a\n# b\n", "a\n\n# b",
    "one two three " * 12 + "\n\n" + "four five " * 20,
    "def f():\n    return 1\n", "\n\n  indented\nless\n", "ends with space \n", "\n ", " \na",
]  # fmt: skip

COMMENTS = ["#", "# a", "#b", "# a: b", "# 'c", "# {d", "#  | e", "## 🦊", "# - f # g", "# end: |"]

_IN_BRACKETS = ["{{k: {0}, {0}: 1, z: [{0}, 1]}}", "{{k: {0}}}"]


@dataclass
class OddYaml:
    """Writes a mapping; `comments` are those that it has written."""

    random: Random
    comments: list[str] = field(default_factory=list)
    anchors: dict[str, str] = field(default_factory=dict)
    after_block: bool = False
    """Whether a comment farther to the right would be text of a block."""

    def file(self, data: dict[str, Any]) -> str:
        text = self.above(0) + ("---\n" if self.one_in(6) else "")
        text += self.block(data, 0)
        text += self.above(0)
        return text.replace("\n", "\r\n") if self.one_in(8) else text

    def one_in(self, count: int) -> bool:
        return not self.random.randrange(count)

    def comment(self) -> str:
        text: str = self.random.choice(COMMENTS)
        self.comments.append(text)
        return text

    def above(self, indent: int) -> str:
        """Comments and empty lines."""
        if not self.one_in(3):
            return ""
        lines = []
        for _ in range(self.random.randint(1, 3)):
            shift = self.random.choice([0, 0, 0, -indent] + [1, 2] * (not self.after_block))
            lines.append(" " * (indent + shift) + self.comment() if self.one_in(2) else "")
        return "".join(f"{line}\n" for line in lines)

    def end(self) -> str:
        """The end of a line."""
        return f"  {self.comment()}\n" if self.one_in(6) else "\n"

    def block(self, value: Any, indent: int) -> str:
        """The lines of a collection that is not empty."""
        entries = list(value.items()) if isinstance(value, dict) else [(None, v) for v in value]
        if isinstance(value, dict):
            self.random.shuffle(entries)
        text = ""
        for index, (key, item) in enumerate(entries):
            # A comment above the first item of a dash's own line would part them.
            text += self.above(indent) if index else ""
            head = "-" if key is None else self.key(key)
            self.after_block = False
            text += " " * indent + head + self.value(item, indent, key is not None)
        return text

    def key(self, key: str) -> str:
        return f"{self.scalar(key)} :" if self.one_in(20) else f"{self.scalar(key)}:"

    def value(self, value: Any, indent: int, in_mapping: bool) -> str:
        """What stands behind a key or dash, with the end of its line."""
        if not isinstance(value, dict | list) or not value:
            return self.leaf(value, indent)
        content = json.dumps(value)
        if content in self.anchors and self.one_in(2):
            return f" *{self.anchors[content]}{self.end()}"
        anchor = self.anchor(content)
        style = self.random.choice(["block", "block", "flow", "spread"])
        if style != "block":
            return f"{anchor} {self.flow(value, style == 'spread', indent + 1)}{self.end()}"
        least = 0 if in_mapping and isinstance(value, list) else 1
        step = self.random.randint(least, 4)
        if not in_mapping and isinstance(value, dict) and not anchor and self.one_in(2):
            return " " * (step or 1) + self.block(value, indent + 1 + (step or 1)).lstrip(" ")
        return anchor + self.end() + self.above(indent + step) + self.block(value, indent + step)

    def anchor(self, content: str) -> str:
        """Sometimes an anchor for what is written next; a key may move, and its alias with it."""
        if content in self.anchors or not self.one_in(12):
            return ""
        self.anchors[content] = f"a{len(self.anchors)}"
        return f" &{self.anchors[content]}"

    def leaf(self, value: Any, indent: int) -> str:
        self.after_block = False
        if isinstance(value, str):
            content = json.dumps(value)
            if content in self.anchors and self.one_in(2):
                return f" *{self.anchors[content]}{self.end()}"
            anchor = self.anchor(content)
            blocks = self.blocks(value, indent) if self.one_in(2) else []
            if blocks:
                header, lines = self.random.choice(blocks)
                self.after_block = True
                comment = f" {self.comment()}" if self.one_in(6) else ""
                return f"{anchor} {header}{comment}\n{lines}"
            return f"{anchor} {self.scalar(value)}{self.end()}"
        if value is None and self.one_in(3):
            return self.end()
        return f" {self.scalar(value)}{self.end()}"

    def flow(self, value: Any, spread: bool, indent: int) -> str:
        if not isinstance(value, dict | list):
            return self.scalar(value, flow=True)
        entries = list(value.items()) if isinstance(value, dict) else [(None, v) for v in value]
        text = "{" if isinstance(value, dict) else "["
        for index, (key, item) in enumerate(entries):
            text += "," if index else ""
            if spread and self.one_in(2):
                text += self.end() + self.above(indent) + " " * indent
            text += " " * self.random.randint(0, 2) * bool(index or spread)
            text += "" if key is None else f"{self.scalar(key, flow=True)}: "
            text += self.flow(item, spread, indent + 1)
        if spread and self.one_in(2):
            text += self.end() + self.above(indent) + " " * indent
        return text + ("}" if isinstance(value, dict) else "]")

    def scalar(self, value: Any, *, flow: bool = False) -> str:
        """A scalar on one line, in one of the styles that can hold it."""
        if value is None:
            return str(self.random.choice(["null", "~", "Null"]))
        if not isinstance(value, str):
            return json.dumps(value)
        forms = [escaped(value)]
        if value.isprintable():
            forms += [json.dumps(value, ensure_ascii=False), "'" + value.replace("'", "''") + "'"]
            around = (
                ["{{k: {0}, {0}: 1, z: [{0}, 1]}}", "{{k: {0}}}"] if flow else ["k: {0}\n{0}: 1"]
            )
            # A dash alone is a text only where no blank follows: the library lets it pass.
            bare = not (flow and (value.endswith(":") or value == "-"))
            forms += (
                [value] * 3 * (bare and all(reads(text.format(value), value) for text in around))
            )
        return str(self.random.choice(forms))

    def blocks(self, value: str, indent: int) -> list[tuple[str, str]]:
        """The block styles that can hold a text, each as header and lines."""
        found = []
        step = self.random.randint(1, 4)
        text = value.removesuffix("\n")
        for mark in ("|", ">"):
            broken = text if mark == "|" else text.replace("\n", "\n\n").replace(". ", ".\n")
            for header in (mark, f"{mark}-", f"{mark}+", f"{mark}{step}", f"{mark}{step}-"):
                lines = "".join(
                    f"{' ' * step}{line}\n" if line else "\n" for line in broken.split("\n")
                )
                if reads(f"k: {header}\n{lines}", value):
                    pad = " " * indent
                    shown = [f"{pad}{line}" if line else "" for line in lines.split("\n")[:-1]]
                    found.append((header, "".join(f"{line}\n" for line in shown)))
        return found


def escaped(value: str) -> str:
    """A text in double quotes with an escape for each letter beyond ASCII."""
    return '"' + "".join(
        f"\\U{ord(c):08x}" if ord(c) > 0xFFFF else json.dumps(c)[1:-1] for c in value
    ) + '"'  # fmt: skip


@cache
def reads(text: str, value: str) -> bool:
    source = load(text)
    return not source.problems and source.data["k"] == value
