"""How a text, a number or a truth value is written.

Quotes stand where YAML 1.2 needs them, and stay where other readers of YAML would take
a text for something else, or where it would be hard to read without them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Final

from joinery.workflow.formatting.tree import Scalar
from joinery.workflow.yaml_scalars import plain_scalar

LINE_CHARS: Final = 100

# What YAML cannot print, or takes for a line break: https://yaml.org/spec/1.2.2/#51-character-set
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_INDICATORS: Final = frozenset("-?:,[]{}#&*!|>'\"%@`=~<")
"""A text that begins with one of these stays in quotes: https://yaml.org/spec/1.2.2/#53-indicator-characters"""

_OLD_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off"})
"""True and false in YAML 1.1: https://yaml.org/type/bool.html"""

_NUMERIC: Final = re.compile(r"[+.0-9]")
_NO_NUMBER: Final = re.compile(r"\d+(\.\d+)?(ms|s|m|h|d)|\d+(\.\d+)? [^\W\d].*|\.{1,2}/.*")
"""Durations, counted things and paths begin like numbers but are none in any YAML."""


def inline(scalar: Scalar, *, flow: bool, key: bool = False) -> str:
    """Returns a scalar on one line.

    Args:
        scalar: What to write.
        flow: Whether it stands in brackets.
        key: Whether it is a key.
    """
    value = scalar.value
    if not scalar.style:
        plain = _plain(scalar, flow=flow, key=key)
        if plain is not None:
            return plain
    elif bare(value, flow=flow or key):
        return value
    if scalar.style == '"' and "\n" not in scalar.raw and any(map(_hidden, value)):
        return scalar.raw  # its author knows how to show what nobody sees
    return quoted(value)


def _plain(scalar: Scalar, *, flow: bool, key: bool) -> str | None:
    """Returns what was written without quotes, or None when one line of it needs them."""
    if scalar.empty:
        return "null" if flow else ""
    value: Any = plain_scalar(scalar.value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str) or bare(value, flow=flow or key):
        return scalar.value
    # A text in brackets may be a dash or end with a colon, and one on several lines may join
    # to anything.
    return None if value == "-" or value.endswith(":") or "\n" in scalar.raw else value


def bare(value: str, *, flow: bool) -> bool:
    """Whether a text means itself without quotes, to everybody."""
    if not value or value[0] in _INDICATORS or value != value.strip():
        return False
    if value.lower() in _OLD_WORDS or (_NUMERIC.match(value) and not _NO_NUMBER.fullmatch(value)):
        return False
    if ": " in value or " #" in value or value.endswith(":") or set("{}") & set(value):
        return False
    if flow and set(":#,[]") & set(value):
        return False
    if any(_hidden(letter) for letter in value):
        return False
    try:
        return isinstance(plain_scalar(value), str)
    except ValueError:
        return False


def _hidden(letter: str) -> bool:
    """Whether nobody sees a character, or YAML would not keep it."""
    if letter.isascii():
        return not " " <= letter <= "~"
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs")


def quoted(value: str) -> str:
    """Returns a text in quotes: those that need fewer escapes, double ones when it is even."""
    if value.count('"') + value.count("\\") > value.count("'") and not _UNPRINTABLE.search(value):
        return f"'{value.replace(chr(39), chr(39) * 2)}'"
    return escaped(value)


def escaped(value: str) -> str:
    """Returns a text in double quotes, as JSON and YAML read it; letters stay letters."""
    written = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", written)


# -- texts of several lines ---------------------------------------------------------------


def block(scalar: Scalar, width: int) -> list[str] | None:
    """Returns a scalar as a block: its header, then its lines; None where it suits one line.

    Args:
        scalar: What to write.
        width: So many characters fit into a line of it.
    """
    value = scalar.value
    several = "\n" in value.removesuffix("\n")
    if scalar.style == "|":
        return _checked(_literal(value), scalar)
    if scalar.style == ">":
        found = _checked(_kept(scalar), scalar) or _checked(_folded(value, width), scalar)
        return found or (_checked(_literal(value), scalar) if several else None)
    if not scalar.style and not isinstance(_read(value), str):
        return None
    broken = "\n" in scalar.raw
    wide = broken and max(map(len, value.split("\n"))) > width
    if wide and (several or len(inline(scalar, flow=False)) > width):
        found = _checked(_folded(value, width), scalar)
        if found:
            return found
    clean = all(line == line.rstrip() and not any(map(_hidden, line)) for line in value.split("\n"))
    return _checked(_literal(value), scalar) if several and clean else None


def _read(value: str) -> Any:
    try:
        return plain_scalar(value)
    except ValueError:
        return value


def _odd(line: str) -> bool:
    return "\t" in line or bool(_UNPRINTABLE.search(line))


def _literal(value: str) -> list[str] | None:
    if not value.strip("\n"):
        return None
    lines = value.removesuffix("\n").split("\n")
    return [f"|{_indicators(value)}", *lines]


def _indicators(value: str) -> str:
    """Returns how a literal is indented, where its first lines do not tell, and how it ends."""
    first = next((line for line in value.split("\n") if line), "")
    ending = len(value) - len(value.rstrip("\n"))
    return f"{'2' if first.startswith(' ') else ''}{('-', '', '+')[min(ending, 2)]}"


def _kept(scalar: Scalar) -> list[str] | None:
    """Returns a folded text with the lines of its author."""
    header, _, rest = scalar.raw.partition("\n")
    if re.search(r"\d", header.partition("#")[0]) or not scalar.value.strip("\n"):
        return None
    lines = rest.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    lines = [line[indent:] for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return _ended(lines, scalar.value)


def _folded(value: str, width: int) -> list[str] | None:
    """Returns a text folded into lines that fit; at spaces, where no other space is beside."""
    if not value.strip() or any(line[:1] in (" ", "\t") for line in value.split("\n")):
        return None
    lines: list[str] = []
    body = value.rstrip("\n")
    for paragraph in body.split("\n"):
        if lines:
            lines.append("")
        if not paragraph:
            continue
        line = ""
        for word in re.split(r"(?<=\S) (?=\S)", paragraph):
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return _ended(lines, value)


def _ended(lines: list[str], value: str) -> list[str]:
    """Returns the lines of a folded text with its header and its end."""
    ending = len(value) - len(value.rstrip("\n"))
    return [f">{('-', '', '+')[min(ending, 2)]}", *lines, *[""] * (ending - 1)]


def _checked(lines: list[str] | None, scalar: Scalar) -> list[str] | None:
    """Returns the lines when they read back as the text, else None."""
    if lines is None or (scalar.last and "+" in lines[0]):
        return None
    if lines[0] in ("|", "|-") and not any(line != line.rstrip() or _odd(line) for line in lines):
        return lines
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    text = "\n".join(["k: " + lines[0], *(f"  {line}" if line else "" for line in lines[1:]), "z:"])
    try:
        events = YAML(typ="safe", pure=True).parse(text + "\n")
        scalars = [event.value for event in events if type(event).__name__ == "ScalarEvent"]
    except (YAMLError, ValueError):
        return None
    return lines if scalars == ["k", scalar.value, "z", ""] else None
