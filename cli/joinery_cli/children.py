"""The child workflows of a file, for the engine that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from joinery.compiler.child_cost import plan_of
from joinery.errors import InvalidRequest
from joinery_cli.workflow_file import Pin, publishable

if TYPE_CHECKING:
    from joinery.client import Client
    from joinery.compiler.plan import Plan
    from joinery.workflow.children import KnownChild
    from joinery.workflow.validation import Report


Send = Callable[["Report"], list[dict[str, Any]]]


def inline_plans(report: Report) -> dict[str, Plan]:
    """Returns the plans of all workflows below a file, by what their runs are pinned to.

    Raises:
        InvalidRequest: A node runs a published workflow, which is not at hand here.
    """
    plans: dict[str, Plan] = {}
    _require_files(report)
    for child in report.children.values():
        for one in child.every():
            if one.report is not None and one.ref not in plans:
                _require_files(one.report)
                plans[one.ref] = plan_of(one)
    return plans


def _require_files(report: Report) -> None:
    for node_id, node in report.require().nodes.items():
        if node.type == "workflow" and node_id not in report.children:
            raise InvalidRequest(
                f"node '{node_id}' runs the published workflow '{node.workflow}', which only the "
                f"local stack has; in this process it runs from a file: ./{node.workflow}.yaml"
            )


def publish_children(client: Client, report: Report, send: Send = lambda _: []) -> dict[str, Pin]:
    """Publishes the workflows in files that a file runs, the innermost first.

    `send` builds the packages of a file and returns what `publish` takes of them.

    Returns:
        Name and version of each, by the node that runs it.
    """
    return _publish(client, report.children, {}, send)


def _publish(
    client: Client, children: Mapping[str, KnownChild], done: dict[str, Pin], send: Send
) -> dict[str, Pin]:
    for child in children.values():
        if child.report is not None and child.ref not in done:
            below = _publish(client, child.children, done, send)
            source, packages = publishable(child.report, below), send(child.report)
            published = client.publish(source, packages=packages)
            done[child.ref] = (published["name"], published["version"])
    return {node_id: done[child.ref] for node_id, child in children.items() if child.ref in done}
