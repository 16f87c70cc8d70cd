"""Checks what expressions read of an answer that is being checked: `output` and `text`."""

from __future__ import annotations

from collections.abc import Iterator

from joinery.workflow.checks.edges import RawGraph
from joinery.workflow.checks.sites import Site
from joinery.workflow.graph import END
from joinery.workflow.paths import Reference
from joinery.workflow.report import did_you_mean

Found = tuple[str, str, Site, str]


def answer_problems(site: Site, ref: Reference, graph: RawGraph) -> Iterator[Found]:
    """Yields what is wrong with a reference to an answer: code, message, site and hint."""
    if not site.answer:
        hint = f"read what a node has answered with nodes.x.{ref.root}"
        if site.node != END and site.after is not None:
            hint = f"write nodes.{site.node}.{ref.text}"
        message = f"{ref.text}: '{ref.root}' is known to the checks of an answer only"
        yield "reference.outside_check", message, site, hint
        return
    output = graph.nodes[site.node].data.get("output")
    unknown = f"{ref.text}: there is no '{ref.path[0] if ref.path else ref.root}' here"
    if ref.root == "text":
        if ref.path and isinstance(ref.path[0], str):
            yield "reference.unknown_field", unknown, site, "'text' is text and has no parts"
    elif output is None:
        message = f"{ref.text}: '{site.node}' declares no output"
        hint = "read the answer with 'text', or declare output: {name: {type: string}}"
        yield "reference.unknown_field", message, site, hint
    elif isinstance(output, dict) and ref.path:
        name = ref.path[0]
        if isinstance(name, str) and name not in output:
            yield "reference.unknown_field", unknown, site, did_you_mean(name, tuple(output))
