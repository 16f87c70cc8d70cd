"""Results of all items stay lists, however many there are.

JSONata turns a list of one into the one, and a list of none into nothing. For a node in
the body of an iterate node that would mean: `nodes.x.text` is a list with two items, a
text with one, and missing with none. Here such a path always gives a list.

Standard library only: this module is imported where nodes run.
"""

from __future__ import annotations

from typing import Any


def keeping_lists(library: Any) -> Any:
    """Returns jsonata-python's evaluator class with paths to such results giving lists."""

    class Evaluator(library):  # type: ignore[misc]  # the library has no types
        """The evaluator."""

        def evaluate_path(self, expr: Any, given: Any, environment: Any) -> Any:
            found = super().evaluate_path(expr, given, environment)
            if not _reads_all_items(expr, given, environment):
                return found
            if not isinstance(found, list):
                return [] if found is None else [found]
            return list(found)  # a plain one is left as it is

    return Evaluator


def _reads_all_items(expr: Any, given: Any, environment: Any) -> bool:
    """Whether a path leads by names alone into results that are a list."""
    document = environment.lookup("$")
    steps = expr.steps
    if steps[0].type == "variable" and steps[0].value == "$":
        steps = steps[1:]
    elif given is not document:
        return False
    if expr.group is not None or not all(_is_name(step) for step in steps):
        return False
    names = [step.value for step in steps]
    depth = {"nodes": 2, "loop": 3}.get(names[0] if names else "", 0)
    if not depth or len(names) < depth or (depth == 3 and names[1] != "previous"):
        return False
    for name in names[:depth]:
        document = document.get(name) if isinstance(document, dict) else None
    return isinstance(document, list)


def _is_name(step: Any) -> bool:
    plain = step.focus is None and step.index is None and step.group is None
    return bool(step.type == "name" and plain and not step.stages and not step.predicate)
