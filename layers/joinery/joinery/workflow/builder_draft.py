"""The file that a builder has put together so far, and what was wrong on the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from joinery.errors import Problem
from joinery.workflow.builder_handles import (
    SELF_DESCRIBING,
    AgentHandle,
    Endpoint,
    Handle,
    Port,
    owner_of,
)
from joinery.workflow.builder_values import Expression, Owner
from joinery.workflow.report import Report, did_you_mean, node_of
from joinery.workflow.source import load
from joinery.workflow.validation import validate
from joinery.workflow.yaml_text import dump
from joinery.workflow.yaml_tree import DEPTH_MAX, escape_pointer

_ORDER: Final = ("version", "name", "description", "inputs", "models", "defaults", "agents",
                 "tools", "nodes", "edges", "outputs", "run_on", "budget", "breaker")  # fmt: skip

_REFUSALS: Final = frozenset({"builder.foreign_handle", "builder.value"})


class Draft:
    """A workflow file in the making.

    Attributes:
        owner: The workflow that its handles belong to.
        data: The file's content as plain data.
    """

    def __init__(self, name: str, description: str) -> None:
        self.owner = Owner(name)
        self._problems: list[Problem] = []
        self.data: dict[str, Any] = {"version": 1}
        self.data["name"] = self.plain(name, "/name")
        if description:
            self.data["description"] = self.plain(description, "/description")

    # -- taking parts ------------------------------------------------------------------

    def put(self, section: str, name: str, value: Any) -> None:
        """Adds an entry to a section; a second one of the same name is a problem."""
        entries = self.data.setdefault(section, {})
        pointer = f"/{section}/{escape_pointer(str(name))}"
        if name in entries:
            label = entries[name].get("name") if section == "nodes" else None
            known = f", for '{label}'" if label else ""
            self.note("builder.duplicate", f"'{name}' stands in {section} already{known}", pointer,
                      hint="give each its own name; the first one counts")  # fmt: skip
            return
        entries[str(name)] = self.plain(value, pointer)

    def owns(self, handle: Handle, pointer: str) -> bool:
        """Whether a handle belongs to this workflow; notes when not."""
        owner = owner_of(handle)
        if owner is self.owner:
            return True
        self.note("builder.foreign_handle", f"{handle!r} belongs to the workflow '{owner.name}'",
                  pointer, hint=f"use handles of '{self.owner.name}'")  # fmt: skip
        return False

    def known(
        self, options: Mapping[str, Any], known: Iterable[str], pointer: str
    ) -> dict[str, Any]:
        """Returns the options that exist; notes the others."""
        for name in sorted(options.keys() - set(known)):
            self.note("builder.unknown_option", f"there is no option '{name}'", pointer,
                      hint=did_you_mean(name, known))  # fmt: skip
        return {name: value for name, value in options.items() if name in known}

    def note(self, code: str, message: str, pointer: str, *, hint: str = "") -> None:
        """Notes a problem that the finished file cannot show."""
        node = node_of(pointer)
        shown = f"node '{node}': {message}" if node else message
        self._problems.append(Problem(code, shown, hint, node_id=node, pointer=pointer))

    def plain(self, value: Any, pointer: str, depth: int = 0) -> Any:
        """Returns a value as plain data, its handles as text."""
        if isinstance(value, Expression):
            self.owns(value, pointer)
            return str(value)
        if isinstance(value, Mapping) and depth <= DEPTH_MAX:
            return {
                self._key(key, pointer): self.plain(
                    item, f"{pointer}/{escape_pointer(str(key))}", depth + 1
                )
                for key, item in value.items()
            }
        if isinstance(value, list | tuple) and depth <= DEPTH_MAX:
            return [self.plain(v, f"{pointer}/{i}", depth + 1) for i, v in enumerate(value)]
        if value is None or isinstance(value, bool):
            return value
        # Members of enumerations are texts and numbers too, but show themselves otherwise.
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        return self._refused(value, pointer)

    def _key(self, key: object, pointer: str) -> str:
        if not isinstance(key, str):
            self.note("builder.value", f"the key {key!r} is not text", pointer)
        return str(key)

    def _refused(self, value: Any, pointer: str) -> str:
        shown, hint = f"a value of the type {type(value).__name__}", "JSON values and handles"
        if isinstance(value, Mapping | list | tuple):
            shown = "a value that is nested too deeply"
        elif isinstance(value, Endpoint | Port | AgentHandle):
            shown = repr(value)
            hint = SELF_DESCRIBING if isinstance(value, Endpoint) else hint
        elif isinstance(value, float):
            shown = str(value)
        self.note("builder.value", f"{shown} cannot stand here", pointer, hint=hint)
        return ""

    # -- the whole ---------------------------------------------------------------------

    def text(self) -> str:
        """Returns the file as YAML."""
        return dump({key: self.data[key] for key in _ORDER if key in self.data})

    def report(self) -> Report:
        """Checks the file as any file is checked, and adds what was noted."""
        source = load(self.text(), filename=f"{self.owner.name}.yaml")
        report = validate(source)
        refused = {p.pointer for p in self._problems if p.code in _REFUSALS}
        # What stands in the place of a value that was refused means nothing.
        found = [_without_line(p) for p in report.problems if p.pointer not in refused]
        problems = (*self._problems, *found)
        return Report(problems, None if self._problems else report.workflow, source)


def _without_line(problem: Problem) -> Problem:
    """Returns a problem without the lines of a file that nobody has seen."""
    hint = "remove one of the two" if problem.code == "edge.duplicate" else problem.hint
    return replace(problem, hint=hint, line=0, column=0)
