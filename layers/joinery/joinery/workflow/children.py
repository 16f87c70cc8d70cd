"""Child workflows: what is known of the workflows that nodes of type `workflow` run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from joinery import limits

if TYPE_CHECKING:
    from joinery.workflow.report import Report


class ChildProblem(Exception):
    """Why a child workflow cannot be used, as a problem of the file that names it."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


@dataclass(frozen=True, slots=True)
class KnownChild:
    """A workflow that a node runs, with the workflows that its own nodes run.

    Attributes:
        name: Its name.
        inputs: What it takes: `{name: {type, required, default}}`.
        workflow_id: Its id; of a file one made from the file's path.
        version: Its version; 0 for a file.
        plan: Its plan as it was published, as data; None for a file.
        report: What its file holds; None for a published one.
        children: The child workflows that are known, by node.
    """

    name: str
    inputs: Mapping[str, Mapping[str, Any]]
    workflow_id: str
    version: int = 0
    plan: Mapping[str, Any] | None = None
    report: Report | None = None
    children: Mapping[str, KnownChild] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """What a run of it is pinned to."""
        return f"{self.workflow_id}/{self.version}"

    def every(self) -> Iterator[KnownChild]:
        """Yields it and all that is known below it."""
        yield self
        for child in self.children.values():
            yield from child.every()

    def way_to(self, name: str) -> list[str]:
        """Returns the names from this one down to a workflow; empty where it leads to none."""
        if self.name == name:
            return [name]
        for child in self.children.values():
            way = child.way_to(name)
            if way:
                return [self.name, *way]
        return []

    def levels(self) -> int:
        """Returns how many runs are nested in each other, this one included."""
        return 1 + max((child.levels() for child in self.children.values()), default=0)


class ChildSource(Protocol):
    """Finds child workflows."""

    def find(self, workflow: str, version: int | None) -> KnownChild | None:
        """Returns a workflow, or None where it cannot be known from here.

        Raises:
            ChildProblem: There is none, or it cannot be used.
        """
        ...


def child_of_tool(name: str) -> str:
    """Returns the key of a tool's workflow among those of nodes; no node's id has a dot."""
    return f"tools.{name}"


def is_file(workflow: str) -> bool:
    """Whether a node names its workflow by a file rather than by the published name."""
    return "/" in workflow or workflow.endswith((".yaml", ".yml", ".json"))


class FileChildren:
    """Finds child workflows in files beside or below the file that names them.

    Args:
        folder: The folder of that file.
        opened: The files from the outermost one down to it.
        found: Files that were read before, shared with those below.
    """

    def __init__(
        self,
        folder: Path,
        opened: tuple[Path, ...] = (),
        found: dict[Path, KnownChild] | None = None,
    ) -> None:
        self._folder, self._opened = folder.resolve(), opened
        self._found = {} if found is None else found

    def find(self, workflow: str, version: int | None) -> KnownChild | None:
        """See `ChildSource.find`; a published workflow cannot be known from files."""
        if not is_file(workflow):
            return None
        path = self._path(workflow)
        if path in self._opened:
            circle = [*self._opened[self._opened.index(path) :], path]
            raise ChildProblem(
                "child.circle",
                f"the workflows run each other in a circle: {' -> '.join(p.name for p in circle)}",
                "a workflow cannot run itself; repeat steps with a loop",
            )
        if len(self._opened) > limits.CHILD_DEPTH_MAX:
            raise too_deep(len(self._opened))
        if path not in self._found:
            self._found[path] = self._read(workflow, path)
        return self._found[path]

    def _path(self, workflow: str) -> Path:
        try:
            path = (self._folder / workflow).resolve()
            there = path.is_file()
        except (OSError, ValueError):  # ValueError: a null byte in the name
            path, there = self._folder / "?", False
        if not path.is_relative_to(self._folder):
            raise ChildProblem(
                "child.file_outside",
                f"'{workflow}' is outside the workflow's folder",
                "keep child workflows beside or below the workflow file",
            )
        if not there:
            raise ChildProblem(
                "child.file_missing",
                f"there is no file '{workflow}'",
                "paths are relative to the workflow file",
            )
        return path

    def _read(self, workflow: str, path: Path) -> KnownChild:
        from joinery.workflow.source import load
        from joinery.workflow.validation import validate

        below = FileChildren(path.parent, (*self._opened, path), self._found)
        try:
            source = load(path.read_bytes(), filename=path.name)
        except OSError as error:
            message = f"'{workflow}' cannot be read: {error.strerror}"
            raise ChildProblem("child.file_missing", message) from None
        report = validate(source, folder=path.parent, children=below)
        if report.workflow is None:
            raise _invalid(workflow, report)
        inputs = {name: spec.declared() for name, spec in report.workflow.inputs.items()}
        digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()
        return KnownChild(
            report.workflow.name, inputs, f"wf_{digest[:24]}", report=report,
            children=report.children,
        )  # fmt: skip


def too_deep(levels: int) -> ChildProblem:
    """Returns the problem of workflows that are nested too deeply."""
    return ChildProblem(
        "limit.child_depth",
        f"{levels} child workflows are nested in each other; the limit is {limits.CHILD_DEPTH_MAX}",
        "let a child workflow do less, so that fewer are nested",
    )


def _invalid(workflow: str, report: Report) -> ChildProblem:
    first = report.errors[0]
    for error in report.errors:
        if error.code in ("child.circle", "limit.child_depth"):
            return ChildProblem(error.code, error.message, error.hint)
    more = f" (and {len(report.errors) - 1} more)" if len(report.errors) > 1 else ""
    return ChildProblem(
        "child.invalid",
        f"'{workflow}' is invalid: line {first.line}: {first.message}{more}",
        f"see joinery validate {workflow}",
    )
