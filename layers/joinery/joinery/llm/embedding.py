"""Embeddings in batches, and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from joinery.llm.types import Embeddings, Usage
from joinery.model_errors import TransientModelStream


def batches(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yields texts in batches of at most `size`."""
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def joined(parts: Sequence[Embeddings]) -> Embeddings:
    """Returns the embeddings of several batches as one."""
    usage = sum((part.usage for part in parts), Usage())
    return Embeddings(tuple(vector for part in parts for vector in part.vectors), usage)


def vector(provider: str, values: Any) -> tuple[float, ...]:
    """Returns a vector of an answer. Raises: TransientModelStream, when it is none."""
    if not isinstance(values, list) or not values or not all(map(_is_number, values)):
        raise TransientModelStream(f"{provider} answered without embeddings")
    return tuple(float(value) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
