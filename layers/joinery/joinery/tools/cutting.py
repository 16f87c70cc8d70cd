"""What a model is told of a tool's result that is too long for it, and where the rest is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

RESULT_CHARS: Final = 20_000
"""Code points of a result that a model is told; of a longer one its head and its tail."""

LIST_ITEMS: Final = 32
"""Items of a list that a model is told; of a longer one the first and the last."""

LIST_HEAD: Final = 20
LIST_TAIL: Final = 8

TEXT_CHARS: Final = (10_000, 4_000, 1_000, 200)
"""Code points of each text in data that is too long: the first that makes it fit."""

LISTS_INDEXED: Final = 20
PLACES_INDEXED: Final = 100
"""So many lists can be read by their items, and so many places of each are noted."""


@dataclass(frozen=True, slots=True)
class LongList:
    """Where the items of a list stand in the JSON of a result.

    Attributes:
        path: Keys and indexes that lead to it, joined by dots; `""` is the result itself.
        count: How many items it has.
        every: Of each so many items, the first has its place noted.
        places: Where these begin, in code points.
    """

    path: str
    count: int
    every: int
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """A result as the model is told it.

    Attributes:
        text: What it is told.
        whole: All of the result.
        cut: Whether `text` is less than that.
        lists: The long lists in it.
    """

    text: str
    whole: str
    cut: bool
    lists: tuple[LongList, ...] = ()

    def noted(self) -> list[dict[str, Any]]:
        """Returns the long lists as a journal keeps them."""
        return [{**asdict(one), "places": list(one.places)} for one in self.lists]


def of_text(text: str) -> Told:
    """Returns a text with at most `RESULT_CHARS` of it."""
    return Told(shortened(text, RESULT_CHARS), text, len(text) > RESULT_CHARS)


def of_data(data: Any) -> Told:
    """Returns data as JSON: lists are shortened first, then texts in it, then the whole.

    Raises:
        ValueError: It cannot be said in JSON; also TypeError and RecursionError.
    """
    short, left_out = shorter_lists(data, lambda items, _: _told_of(items))
    if not left_out:
        whole = to_json(data)
        if len(whole) <= RESULT_CHARS:
            return Told(whole, whole, cut=False)
        return Told(_said(data, whole), whole, cut=True)
    whole, lists = _indexed(data)
    return Told(_said(short, to_json(short)), whole, cut=True, lists=lists)


def shortened(text: str, most: int) -> str:
    """Returns head and tail of a text, `most` code points together, with a line between them."""
    if len(text) <= most:
        return text
    head, tail = (most + 1) // 2, most // 2
    missing = len(text) - head - tail
    return f"{text[:head]}\n[… {missing:,} characters left out …]\n{text[len(text) - tail :]}"


def to_json(data: Any) -> str:
    """Returns data as JSON in its letters.

    Raises:
        ValueError: It cannot be said in JSON; also TypeError and RecursionError.
    """
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


_CONTAINERS: Final = (dict, list, tuple)

Rule = Callable[[Sequence[Any], bool], tuple[int, int] | None]
"""Of a list, and whether it is a page: how many first and last items are kept; None for all."""


def _told_of(items: Sequence[Any]) -> tuple[int, int] | None:
    return (LIST_HEAD, LIST_TAIL) if len(items) > LIST_ITEMS else None


def shorter_lists(value: Any, rule: Rule, *, page: bool = False) -> tuple[Any, bool]:
    """Returns data without the middles of long lists, and whether anything was left out.

    Args:
        value: The data.
        rule: Which lists are long.
        page: Whether it is a list beside which stands how to get more of it.
    """
    if isinstance(value, dict):
        pages, made, some = is_page(value), {}, False
        for key, item in value.items():
            if isinstance(item, _CONTAINERS):
                made[key], less = shorter_lists(item, rule, page=pages)
                some = some or less
            else:
                made[key] = item
        return made, some
    if not isinstance(value, list | tuple):
        return value, False
    kept = rule(value, page)
    head, tail = kept or (len(value), 0)
    items = [*value[:head], *value[len(value) - tail :]] if kept else value
    shorter = [shorter_lists(item, rule) for item in items]
    found = [part for part, _ in shorter]
    if kept:
        missing = len(value) - head - tail
        found.insert(head, f"… {missing:,} of {len(value):,} items left out …")
    return found, bool(kept) or any(less for _, less in shorter)


PAGE_KEYS: Final = 50
"""An object with more keys is no page."""

_MORE: Final = frozenset({
    "cursor", "next", "nextcursor", "nextlink", "nextpage", "nextpagetoken", "nexttoken",
    "hasmore", "hasnext", "offset", "page", "pagetoken", "totalpages",
})  # fmt: skip


def is_page(value: Mapping[Any, Any]) -> bool:
    """Whether an object is a page of something longer: it says how to go on."""
    if len(value) > PAGE_KEYS:
        return False
    return any(str(key).replace("_", "").replace("-", "").lower() in _MORE for key in value)


def fitting(data: Any, most: int) -> Any:
    """Returns data whose texts are so short that its JSON has `most` code points at most.

    Of no text more is cut than is needed.

    Returns:
        The data; None where it is too long for other reasons.
    """
    *wider, least = TEXT_CHARS
    if next(islice(_leaves(data), most, None), None) is not None:
        return None
    fits = _shorter_texts(data, least)
    if len(to_json(fits)) > most:
        return None
    for chars in wider:
        wide = _shorter_texts(data, chars)
        if len(to_json(wide)) <= most:
            return wide
    return fits


def _leaves(value: Any) -> Iterator[bool]:
    """Yields something for each value that is in data, itself included."""
    yield True
    if isinstance(value, _CONTAINERS):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)


def _shorter_texts(value: Any, most: int) -> Any:
    """Returns data in which each text has head and tail alone, `most` code points together."""
    if isinstance(value, str):
        return shortened(value, most)
    if isinstance(value, dict):
        return {key: _shorter_texts(item, most) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shorter_texts(item, most) for item in value]
    return value


def _said(data: Any, said: str) -> str:
    """Returns data as JSON that is short enough to be told."""
    if len(said) <= RESULT_CHARS:
        return said
    fits = fitting(data, RESULT_CHARS)
    return shortened(said, RESULT_CHARS) if fits is None else to_json(fits)


# -- where items are -------------------------------------------------------------------------


def _indexed(data: Any) -> tuple[str, tuple[LongList, ...]]:
    """Returns data as JSON, and where the items of its long lists stand in it."""
    writer = _Writer()
    writer.write(data, "")
    return "".join(writer.pieces), tuple(writer.lists)


class _Writer:
    """Writes JSON as `json.dumps` does, and notes where it writes the items of lists."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.lists: list[LongList] = []
        self._end = 0

    def write(self, value: Any, path: str) -> None:
        """Writes a value, with the lists in it, down to the items of a long one."""
        if isinstance(value, list | tuple) and len(value) > LIST_ITEMS:
            self._items(value, path)
        elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
            self._add("{")
            self._entries(value, path)
            self._add("}")
        elif isinstance(value, list | tuple) and any(
            isinstance(v, list | tuple | dict) for v in value
        ):
            self._add("[")
            for place, item in enumerate(value):
                self._add(", " if place else "")
                self.write(item, f"{path}.{place}" if path else str(place))
            self._add("]")
        else:
            self._add(to_json(value))

    def _entries(self, value: Mapping[str, Any], path: str) -> None:
        before, plain = "", {}
        for key, item in value.items():
            if not isinstance(item, _CONTAINERS):
                plain[key] = item
                continue
            if plain:
                self._add(before + to_json(plain)[1:-1])
                before, plain = ", ", {}
            self._add(f"{before}{to_json(key)}: ")
            self.write(item, f"{path}.{_step(key)}" if path else _step(key))
            before = ", "
        if plain:
            self._add(before + to_json(plain)[1:-1])

    def _items(self, value: Sequence[Any], path: str) -> None:
        every = -(-len(value) // PLACES_INDEXED)
        places: list[int] = []
        for first in range(0, len(value), every):
            self._add(", " if first else "[")
            places.append(self._end)
            self._add(to_json(value[first : first + every])[1:-1])
        self._add("]")
        if len(self.lists) < LISTS_INDEXED:
            self.lists.append(LongList(path, len(value), every, tuple(places)))

    def _add(self, piece: str) -> None:
        self.pieces.append(piece)
        self._end += len(piece)


def _step(key: str) -> str:
    """Returns a key as a path has it: quoted where it would look like something else."""
    return key if key and not set(key) & set('." \n\t') else to_json(key)
