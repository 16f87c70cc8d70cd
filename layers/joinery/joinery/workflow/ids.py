"""Ids for nodes whose names come from elsewhere: any script, any length, any repetition.

An importer maps the names of a graph once, keeps each as the node's `name`, and uses
the ids everywhere else: in edges, expressions, state names and keys. The Python builder
does the same with one name after another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from joinery import limits
from joinery.workflow.graph import END, START

RESERVED: Final = frozenset({START, END, "error", "default"})
"""Words that mean something of their own beside node ids."""

_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_OTHER: Final = re.compile(r"[^A-Za-z0-9]+")

_SPELLED: Final = str.maketrans({
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE",
    "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i",
    "'": "", "’": "",
})  # fmt: skip
"""Latin letters that have no decomposition, and signs inside words."""


def safe_ids(names: Iterable[str]) -> dict[str, str]:
    """Returns an id for each name: the same names in the same order give the same ids.

    An id is the name in plain letters where it has any: accents are dropped, everything
    else becomes `_`. What is left empty, as by a name in another script, is called
    `node_<n>` by its place. Ids differ in more than the case of letters, so that they
    stay apart wherever case is lost, and none is a reserved word. A name that is a good
    id keeps it, whatever stands before it.

    Args:
        names: The names; one that repeats is one node.

    Returns:
        `{name: id}` in the order of the names; each id matches `NODE_ID` and has at most
        `limits.NODE_ID_CHARS` characters.
    """
    distinct = list(dict.fromkeys(names))
    found: dict[str, str] = {}
    taken = set(RESERVED)
    for name in distinct:
        if name and _plain(name) == name and name.lower() not in taken:
            found[name] = name
            taken.add(name.lower())
    for place, name in enumerate(distinct, 1):
        if name not in found:
            found[name] = _free(_plain(name) or f"node_{place}", taken)
            taken.add(found[name].lower())
    return {name: found[name] for name in distinct}


class NodeIds:
    """Ids for names that come one after another: each is needed at once and then stays."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._taken = set(RESERVED)

    def __contains__(self, name: str) -> bool:
        return name in self._ids or name in self._ids.values()

    def of(self, name: str) -> str:
        """Returns the id of a name, always the same.

        A name that is a good id is its own, even one that an earlier name was given, or
        that is reserved: both are for the caller to refuse. So is a name without a sign
        that can be seen. Any other gets an id as `safe_ids` makes it.
        """
        if name not in self._ids:
            found, place = name, len(self._ids) + 1
            if name.strip() and not is_id(name):
                found = _free(_plain(name) or f"node_{place}", self._taken)
            self._ids[name] = found
            self._taken.add(found.lower())
        return self._ids[name]


def is_id(name: str) -> bool:
    """Whether a name can be an id as it is."""
    return bool(_ID.fullmatch(name)) and len(name) <= limits.NODE_ID_CHARS


def _plain(name: str) -> str:
    """Returns a name in ASCII letters, digits and `_`, `""` when nothing is left of it."""
    if is_id(name):
        return name
    spelled = unicodedata.normalize("NFKD", name.translate(_SPELLED))
    letters = "".join(char for char in spelled if not unicodedata.combining(char))
    # A letter of another script is dropped whole: half a word would say something else.
    words = [word for word in _OTHER.split(letters) if word]
    if not words or _mostly_lost(letters, words):
        return ""
    plain = "_".join(words)
    if plain[0].isdigit():
        plain = f"n_{plain}"
    return plain[: limits.NODE_ID_CHARS].rstrip("_")


def _mostly_lost(letters: str, words: list[str]) -> bool:
    """Whether more than half of a name's letters and digits cannot be kept."""
    said = sum(char.isalnum() for char in letters)
    return 2 * sum(map(len, words)) < said


def _free(wanted: str, taken: set[str]) -> str:
    """Returns an id like `wanted` that is not taken: `wanted`, `wanted_2`, …."""
    free, serial = wanted, 2
    while free.lower() in taken:
        suffix = f"_{serial}"
        free = wanted[: limits.NODE_ID_CHARS - len(suffix)] + suffix
        serial += 1
    return free
