"""Pins the packages of a workflow's code: each must be there before a version is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from joinery.errors import InvalidWorkflow, Problem
from joinery.packages.model import Package
from joinery.packages.requirements import needed_by, set_key
from joinery.workflow.checks.requirements import check_provided
from joinery.workflow.report import node_of

if TYPE_CHECKING:
    from joinery.packages.ports import PackageStore
    from joinery.workflow.report import Report


def pinned_packages(
    report: Report, given: Sequence[Package], store: PackageStore, owner: str
) -> Mapping[str, Mapping[str, Any]]:
    """Returns the packages of a valid workflow as its plan holds them.

    Args:
        report: The workflow.
        given: The packages that were built for it; what it does not require is left out.
        store: Where packages are kept.
        owner: Who publishes: nobody else's packages are looked for.

    Raises:
        InvalidWorkflow: With every tool and node whose packages are not there, or whose
            code imports what they do not have.
    """
    built = {set_key(package.requirements): package for package in given}
    problems: list[Problem] = []
    pinned: dict[str, Package] = {}
    for key, needed in needed_by(report.require()).items():
        package = built.get(key)
        shown = ", ".join(needed.requirements)
        if package is None:
            code, message = "requirement.not_built", f"no packages were sent for {shown}"
            hint = "publish with client.publish_with_packages(...) or joinery run, which build them"
        elif store.size(owner, package.sha256) != package.bytes:
            code, message = "requirement.not_stored", f"the packages for {shown} are not here"
            hint = "send them first: POST /packages says where to"
        else:
            pinned[key] = replace(package, requirements=needed.requirements)
            continue
        problems += [
            Problem(code, message, hint, node_id=node_of(at), pointer=f"{at}/requirements")
            for at in needed.pointers
        ]
    modules = {key: package.modules for key, package in pinned.items()}
    if problems:
        from joinery.compiler.check import placed

        problems = placed(report.source, problems)
    problems += check_provided(report, modules)
    if problems:
        raise InvalidWorkflow(problems)
    return {key: package.to_dict() for key, package in sorted(pinned.items())}
