"""The packages of a file's code and of its child workflows, for the engine that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joinery.errors import InvalidWorkflow
from joinery_cli.output import say
from joinery_cli.workflow_file import problem_text

if TYPE_CHECKING:
    from joinery.compiler.plan import Plan
    from joinery.packages.build import Builder
    from joinery.packages.requirements import Needed
    from joinery.workflow.validation import Report

Tell = Callable[[str], None]


def needed_of(report: Report) -> list[Needed]:
    """Returns what the code of one valid file requires, its child workflows left out."""
    if not any(_requires(part) for part in _parts(report)):
        return []
    from joinery.packages.requirements import needed_by

    return list(needed_by(report.require()).values())


class LocalPackages:
    """Packages for code that runs in this process's own sandbox.

    Builds them when it is made.

    Args:
        report: A valid file.
        tell: Is told what takes its time.
        upgrade: Whether to resolve again what was resolved before.

    Raises:
        InvalidWorkflow: Code imports what its packages do not have; that was told.
        RequirementsUnsolvable: Nothing meets some requirements on this machine.
        IndexUnavailable: The package index does not answer.
    """

    def __init__(self, report: Report, tell: Tell, *, upgrade: bool) -> None:
        self.builder: Builder | None = None
        self._packages: dict[str, dict[str, Any]] = {}
        for one in _reports(report):
            if needed := needed_of(one):
                self._build(one, needed, tell, upgrade)

    def pinned(self, plan: Plan) -> Plan:
        """Returns a plan that is pinned to what was built."""
        return replace(plan, packages=self._packages) if self._packages else plan

    def _build(self, report: Report, needed: list[Needed], tell: Tell, upgrade: bool) -> None:
        from joinery.packages.build import Builder
        from joinery.packages.target import PackageTarget
        from joinery.workflow.checks.requirements import check_provided

        self.builder = self.builder or Builder(PackageTarget.here(), tell=tell, upgrade=upgrade)
        built = {one.key: self.builder.build(one).package for one in needed}
        problems = check_provided(report, {key: p.modules for key, p in built.items()})
        if problems:
            for problem in problems:
                say(problem_text(Path(report.source.filename), report.source.text, problem))
            raise InvalidWorkflow(())
        self._packages |= {key: package.to_dict() for key, package in built.items()}


def _reports(report: Report) -> Iterator[Report]:
    yield report
    for child in report.children.values():
        for one in child.every():
            if one.report is not None:
                yield one.report


def _parts(report: Report) -> Iterator[object]:
    workflow = report.require()
    yield from workflow.tools.values()
    yield from workflow.nodes.values()


def _requires(part: object) -> bool:
    return bool(getattr(part, "requirements", ()))
