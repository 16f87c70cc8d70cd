"""How many nodes of a run may be at work at the same time, read from its state machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joinery import limits


def width_of(definition: Mapping[str, Any]) -> int:
    """Returns the most Tasks of a machine, or of a branch of one, that may run at once.

    States of one level follow each other; branches of a Parallel and iterations of a
    Map run side by side. How many items a Map will have is not known before, so its
    `MaxConcurrency` counts, and Step Functions' own limit where it has none.
    """
    return max((_width(state) for state in definition["States"].values()), default=0)


def _width(state: Mapping[str, Any]) -> int:
    match state["Type"]:
        case "Task":
            return 1
        case "Parallel":
            return sum(width_of(branch) for branch in state["Branches"])
        case "Map":
            most = state.get("MaxConcurrency")
            at_once = most if isinstance(most, int) and most > 0 else limits.SFN_INLINE_MAP_WIDTH
            return at_once * width_of(state["ItemProcessor"])
    return 0
