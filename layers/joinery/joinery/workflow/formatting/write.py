"""Writes a tree in the one form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from joinery.workflow.formatting import texts
from joinery.workflow.formatting.texts import LINE_CHARS
from joinery.workflow.formatting.tree import Alias, Collection, Scalar, Unit

_STEP: Final = 2


@dataclass(slots=True)
class _Line:
    """A line, with the comment at its end and the column where its author had that."""

    text: str
    comment: str = ""
    column: int = 0


@dataclass(slots=True)
class _Block:
    """A collection below its key or dash: the comments above its first entry, and the rest."""

    above: list[str]
    lines: list[_Line]


def write(root: Collection) -> str:
    """Returns the text of a file whose tree is in order."""
    block = _collection(root, 0)
    lines: list[_Line] = []
    _add(lines, block.above, 0)
    lines += block.lines
    return "\n".join(_with_comments(lines)) + "\n"


def _collection(collection: Collection, indent: int) -> _Block:
    above: list[str] = []
    lines: list[_Line] = []
    wide_before = False
    for unit in collection.units:
        over, own = _unit(unit, indent)
        # Parts of several lines at the top level stand apart.
        parts = isinstance(unit.value, Collection) or bool(unit.inner)
        wide = indent == 0 and parts and len(own) > 1
        if unit is collection.units[0]:
            above = _merged(collection.head, over)
        else:
            _add(lines, ["", *over] if wide or wide_before else over, indent)
        lines += own
        wide_before = wide
    _add(lines, collection.foot, indent)
    return _Block(above, lines)


def _merged(head: list[str], own: list[str]) -> list[str]:
    """Returns comments about a whole block and about its first entry, told apart."""
    comments = [line for line in own if line]
    apart = [""] if comments and head and head[-1] else []
    return [*head, *apart, *own]


def _add(lines: list[_Line], added: Iterable[str], indent: int) -> None:
    """Adds comments and empty lines, of those one at a time and none at the beginning."""
    for line in added:
        if line:
            lines.append(_Line(" " * indent + line))
        elif lines and lines[-1].text.strip():
            lines.append(_Line(""))


def _unit(unit: Unit, indent: int) -> tuple[list[str], list[_Line]]:
    """Returns the comments above an entry or item, and its lines."""
    head = f"{' ' * indent}-" if unit.key is None else f"{' ' * indent}{_key(unit.key)}:"
    value = unit.value
    if isinstance(value, Collection) and value.units:
        return _nested(unit, value, head, indent)
    body: list[str] = []
    match value:
        case Alias():
            text = f"*{value.name}"
        case Scalar():
            # The value of a list's item stands in brackets or after a dash: never empty.
            block = texts.block(value, LINE_CHARS - indent - _STEP)
            text, *body = block or [texts.inline(value, flow=False)]
            text = f"{_anchor(value.anchor)}{text}"
            if not text and unit.key is None:
                text = "null"
        case _:
            text = _flow(value)
    lines = [_Line(f"{head} {text}".rstrip(" "), unit.comment, unit.column)]
    inside = " " * (indent + _STEP)
    lines += [_Line(f"{inside}{line}" if line else "") for line in body]
    inner: list[_Line] = []
    _add(inner, unit.inner, indent + _STEP)
    return unit.before, lines + inner


def _nested(unit: Unit, value: Collection, head: str, indent: int) -> tuple[list[str], list[_Line]]:
    anchor = _anchor(value.anchor).rstrip()
    if value.flow:
        line = f"{head} {_flow(value)}"
        if len(line) <= LINE_CHARS:
            return unit.before, [_Line(line, unit.comment, unit.column)]
    block = _collection(value, indent + _STEP)
    if unit.key is None and not anchor:
        # `- key: value`: what stands above the key goes above the dash.
        first = block.lines[0]
        first.text = f"{head} {first.text[indent + _STEP :]}"
        comment = [unit.comment] if unit.comment else []
        return [*unit.before, *comment, *block.above], block.lines
    lines = [_Line(f"{head} {anchor}".rstrip(), unit.comment, unit.column)]
    inside: list[_Line] = []
    _add(inside, block.above, indent + _STEP)
    return unit.before, lines + inside + block.lines


# -- on one line ----------------------------------------------------------------------------


def _anchor(name: str) -> str:
    return f"&{name} " if name else ""


def _key(key: Scalar | Alias, *, flow: bool = False) -> str:
    if isinstance(key, Alias):
        return f"*{key.name} "  # a colon may be part of its name
    return f"{_anchor(key.anchor)}{texts.inline(key, flow=flow, key=True)}"


def _flow(value: Scalar | Alias | Collection | None) -> str:
    match value:
        case Alias():
            return f"*{value.name}"
        case Scalar():
            return f"{_anchor(value.anchor)}{texts.inline(value, flow=True)}"
        case Collection(mapping=True):
            entries = [
                f"{_key(unit.key, flow=True)}: {_flow(unit.value)}"
                for unit in value.units
                if unit.key is not None
            ]
            return f"{_anchor(value.anchor)}{{{', '.join(entries)}}}"
        case Collection():
            items = [_flow(unit.value) for unit in value.units]
            return f"{_anchor(value.anchor)}[{', '.join(items)}]"
    return "null"


# -- comments at the ends of lines --------------------------------------------------------------


def _with_comments(lines: list[_Line]) -> Iterable[str]:
    """Yields the lines; comments that their author has aligned stay so."""
    index = 0
    while index < len(lines):
        line = lines[index]
        run = [line]
        while line.comment and index + len(run) < len(lines):
            following = lines[index + len(run)]
            if not following.comment or following.column != line.column:
                break
            run.append(following)
        width = max(len(each.text) for each in run)
        for each in run:
            yield f"{each.text:{width}}  {each.comment}" if each.comment else each.text
        index += len(run)
