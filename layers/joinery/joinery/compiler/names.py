"""State names: from node ids, at most 80 characters, unique in a whole definition."""

from __future__ import annotations

from joinery import limits


class Names:
    """Hands out state names; the same calls in the same order give the same names."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        """Returns `wanted`, shortened or numbered when it must be."""
        name = wanted[: limits.SFN_NAME_CHARS]
        serial = 2
        while name in self._taken:
            suffix = f" ({serial})"
            name = wanted[: limits.SFN_NAME_CHARS - len(suffix)] + suffix
            serial += 1
        self._taken.add(name)
        return name

    def take_list(self, prefix: str, ids: list[str]) -> str:
        """Returns a name that lists ids, or counts them where they do not fit."""
        full = prefix + " + ".join(ids)
        if len(full) > limits.SFN_NAME_CHARS - 5:
            full = f"{prefix}{ids[0]} + {len(ids) - 1} more"
        return self.take(full)
