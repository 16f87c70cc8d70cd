"""Collects problems and puts them in order."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from joinery.errors import InvalidWorkflow, Problem

if TYPE_CHECKING:
    from joinery.workflow.children import KnownChild
    from joinery.workflow.model import Workflow
    from joinery.workflow.source import Source

PROBLEMS_MAX: Final = 1_000
"""More than anybody reads; keeps the answer for a broken generated file small."""

_UNREADABLE: Final = frozenset({"yaml.key", "yaml.tag", "yaml.alias", "yaml.value"})


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a validation.

    Attributes:
        problems: Everything found, by line.
        workflow: The workflow, when no problem is an error.
        source: What was validated.
        children: The child workflows that are known, by the nodes that run them.
        draft: The workflow as far as its shape is right, whatever else is wrong.
    """

    problems: tuple[Problem, ...]
    workflow: Workflow | None
    source: Source
    children: Mapping[str, KnownChild] = field(default_factory=dict)
    draft: Workflow | None = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that make the workflow invalid."""
        return tuple(p for p in self.problems if p.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that do not."""
        return tuple(p for p in self.problems if p.severity != "error")

    def require(self) -> Workflow:
        """Returns the workflow.

        Raises:
            InvalidWorkflow: There is an error.
        """
        if self.workflow is None:
            raise InvalidWorkflow(self.problems)
        return self.workflow


@dataclass(slots=True)
class Collector:
    """Takes problems, each with its pointer, and finds their places."""

    source: Source
    problems: list[Problem] = field(default_factory=list)

    def add(
        self,
        code: str,
        message: str,
        pointer: str,
        *,
        hint: str = "",
        node_id: str | None = None,
        key: bool = False,
        severity: str = "error",
    ) -> None:
        """Notes a problem.

        Args:
            code: Stable name of the rule.
            message: What is wrong.
            pointer: JSON pointer to where.
            hint: What to write instead.
            node_id: The node it concerns; found from the pointer when not given.
            key: Whether the place is the key rather than its value.
            severity: `error` or `warning`.
        """
        line, column = self.source.key_place(pointer) if key else self.source.place(pointer)
        self.problems.append(
            Problem(
                code, message, hint, severity, node_id or node_of(pointer), pointer, line, column
            )
        )

    def warn(self, code: str, message: str, pointer: str, **more: Any) -> None:
        """Notes a warning."""
        self.add(code, message, pointer, severity="warning", **more)

    def ordered(self) -> tuple[Problem, ...]:
        """Returns all problems by line and code, without repetitions and follow-ups."""
        yaml = [replace(p, node_id=node_of(p.pointer)) for p in self.source.problems]
        unreadable = {p.pointer for p in yaml if p.code in _UNREADABLE and p.pointer}
        kept = [
            p
            for p in self.problems
            if not any(_within(p.pointer, pointer) for pointer in unreadable)
        ]
        found = sorted(
            dict.fromkeys(yaml + kept), key=lambda p: (p.line, p.code, p.column, p.pointer)
        )
        if len(found) > PROBLEMS_MAX:
            left = len(found) - PROBLEMS_MAX
            more = Problem("limit.problems", f"and {left:,} more problems", line=found[-1].line)
            return (*found[:PROBLEMS_MAX], more)
        return tuple(found)


def node_of(pointer: str) -> str | None:
    """Returns the node that a pointer leads into, if any."""
    parts = pointer.split("/")
    if len(parts) < 3 or parts[1] != "nodes":
        return None
    return parts[2].replace("~1", "/").replace("~0", "~")


def _within(pointer: str, outer: str) -> bool:
    return pointer == outer or pointer.startswith(f"{outer}/")


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Returns a hint naming the closest option, or listing them when they are few."""
    close = closest(name, options)
    if close:
        return f"did you mean '{close}'?"
    known = sorted(options)
    return f"known: {', '.join(known)}" if 0 < len(known) <= 12 else ""


def closest(name: str, options: Iterable[str]) -> str | None:
    """Returns the option that a name was probably meant to be."""
    known = list(options)
    lowered = {option.lower(): option for option in known}
    if name.lower() in lowered:
        return lowered[name.lower()]
    found = difflib.get_close_matches(name, known, n=1)
    return found[0] if found else None
