"""`read_result`: by it a model reads what it was not told of a long result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joinery.agent_errors import PermanentNoSuchResult
from joinery.errors import NotFound
from joinery.llm.types import ToolSpec
from joinery.tools.base import ToolResult, ToolUse
from joinery.tools.cutting import shortened

NAME: Final = "read_result"

AT_ONCE: Final = 10_000
"""Code points of one page: far below what a result is cut at."""

ITEMS: Final = 20
ITEMS_AT_ONCE: Final = 128
"""Items of a page, where nothing is said and at most; a page ends before `AT_ONCE` is passed."""

STRETCH: Final = 64 * 1024
"""Code points that are read at first to find items; twice as many where they do not suffice."""

ITEM_CHARS: Final = 1024 * 1024
"""A longer item is not read as one."""

LISTS_TOLD: Final = 3

SPEC: Final = ToolSpec(
    NAME,
    "Reads a part of an earlier tool result that was too long to be shown whole: characters, "
    "or items of a list in it.",
    {
        "type": "object",
        "properties": {
            "result": {"type": "string", "description": "The result, such as 2.0."},
            "start": {
                "type": "integer",
                "minimum": 0,
                "default": 0,
                "description": "The first character, counted from 0.",
            },
            "length": {
                "type": "integer",
                "minimum": 1,
                "maximum": AT_ONCE,
                "default": AT_ONCE,
                "description": "How many characters.",
            },
            "list": {
                "type": "string",
                "description": "To read items: the list's path, such as rows or data.rows; "
                "empty where the result is the list.",
            },
            "item": {
                "type": "integer",
                "minimum": 0,
                "description": "To read items: the first one, counted from 0.",
            },
            "items": {
                "type": "integer",
                "minimum": 1,
                "maximum": ITEMS_AT_ONCE,
                "default": ITEMS,
                "description": "How many items.",
            },
        },
        "required": ["result"],
        "additionalProperties": False,
    },
)


def hint(result_id: str, chars: int, lists: Sequence[Mapping[str, Any]] = ()) -> str:
    """Returns the line that tells a model how to read the rest of a result.

    Args:
        result_id: What the model calls it.
        chars: Its length.
        lists: The long lists in it, as the journal notes them.
    """
    by_items = ""
    if lists:
        first = json.dumps({"result": result_id, "list": lists[0]["path"], "item": 0})
        named = ", ".join(_named(one) for one in lists[:LISTS_TOLD])
        more = f" and {len(lists) - LISTS_TOLD} more lists" if len(lists) > LISTS_TOLD else ""
        by_items = f" {first} reads items of {named}{more}."
    return (
        f"\n[This is a part: the result has {chars:,} characters. "
        f'{NAME} with {{"result": "{result_id}", "start": 0}} reads any of them.{by_items}]'
    )


def _named(one: Mapping[str, Any]) -> str:
    path = shortened(str(one["path"]), 100) or "the result"
    return f"{path} ({one['count']:,} items)"


Read = Callable[[int, int], str]
"""Reads a range of a result: `(start, stop)`."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Implements `Tool` for the results of one agent.

    Attributes:
        find: Returns the journal's entry of a result by its id, None where there is none.
        read: Reads a range of a text that is kept whole: `(name, start, stop)`.
    """

    find: Callable[[str], Mapping[str, Any] | None]
    read: Callable[[str, int, int], str]
    spec: ToolSpec = SPEC
    read_only: bool = True
    at_most_once: bool = False
    timeout_s: float = 60.0

    def call(self, use: ToolUse) -> ToolResult:
        """See `Tool.call`."""
        result_id = str(use.arguments["result"])
        entry = self.find(result_id)
        if entry is None:
            raise PermanentNoSuchResult(f"there is no result '{result_id}'")

        def read(start: int, stop: int) -> str:
            name = entry.get("whole")
            return self.read(name, start, stop) if name else entry["content"][start:stop]

        try:
            if {"list", "item"} & use.arguments.keys():
                return ToolResult(_page(result_id, entry, read, use.arguments))
            return ToolResult(_part(int(entry["chars"]), read, use.arguments))
        except NotFound:
            raise PermanentNoSuchResult(f"the result '{result_id}' is not kept any more") from None


def _part(chars: int, read: Read, asked: Mapping[str, Any]) -> str:
    start = int(asked["start"])
    part = read(start, start + int(asked["length"]))
    if not part:
        return f"[nothing: the result has {chars:,} characters]"
    return f"{part}\n[characters {start} to {start + len(part)} of {chars}]"


# -- items -----------------------------------------------------------------------------------


def _page(result_id: str, entry: Mapping[str, Any], read: Read, asked: Mapping[str, Any]) -> str:
    """Returns items of a list, as many as there is room for, and which they are."""
    path, first = str(asked.get("list", "")), int(asked.get("item", 0))
    lists: Sequence[Mapping[str, Any]] = entry.get("lists") or ()
    found = next((one for one in lists if one["path"] == path), None)
    if found is None:
        known = ", ".join(_named(one) for one in lists) or "none"
        raise PermanentNoSuchResult(
            f"'{path}' is no long list of the result '{result_id}'; these are: {known}"
        )
    count = int(found["count"])
    last = min(count, first + int(asked["items"]))
    shown: list[str] = []
    left = AT_ONCE
    for index, start, text in _items(found, read, first, last):
        if len(text) + 2 > left:
            if not shown:
                shown.append(shortened(text, AT_ONCE))
                return _listed(shown, index, count) + _long(result_id, index, start, len(text))
            break
        left -= len(text) + 2
        shown.append(text)
    if not shown:
        return f"[nothing: the list has {count:,} items]"
    return _listed(shown, first, count)


def _listed(shown: Sequence[str], first: int, count: int) -> str:
    which = f"items {first} to {first + len(shown) - 1} of {count}"
    return "[" + ",\n".join(shown) + f"]\n[{which}]"


def _long(result_id: str, index: int, start: int, chars: int) -> str:
    return (
        f"\n[Item {index} has {chars:,} characters: "
        f'{NAME} with {{"result": "{result_id}", "start": {start}}} reads them.]'
    )


def _items(
    found: Mapping[str, Any], read: Read, first: int, last: int
) -> Iterator[tuple[int, int, str]]:
    """Yields index, place and JSON of items, reading no more than it takes to find them.

    Raises:
        PermanentNoSuchResult: One of them is longer than `ITEM_CHARS`.
    """
    every, places = int(found["every"]), found["places"]
    if first >= int(found["count"]):
        return
    index = first // every * every
    start = int(places[first // every])
    held, stretch = "", STRETCH
    decoder = json.JSONDecoder()
    while index < last:
        end = _end(decoder, held)
        if end is None:
            if len(held) >= ITEM_CHARS:
                raise PermanentNoSuchResult(
                    f"item {index} is too long to be read as one: it begins at character {start}"
                )
            upto = start + min(len(held) + stretch, ITEM_CHARS)
            more = read(start + len(held), upto)
            if not more:
                raise NotFound("the text ends before the list does")
            held, stretch = held + more, 2 * stretch
            continue
        if index >= first:
            yield index, start, held[:end]
        # Behind an item stands a comma and a space.
        index, start, held = index + 1, start + end + 2, held[end + 2 :]


def _end(decoder: json.JSONDecoder, held: str) -> int | None:
    """Returns where the first item ends; None where it is not known to be whole."""
    try:
        _, end = decoder.raw_decode(held)
    except (ValueError, RecursionError):
        return None
    # A number may go on where the text ends.
    return end if held[end : end + 1] in {",", "]"} else None
