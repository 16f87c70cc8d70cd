"""Checks every expression: its syntax, and that what it reads is there when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from joinery.workflow.checks import guarantees
from joinery.workflow.checks.answers import answer_problems
from joinery.workflow.checks.edges import RawGraph, RawNode
from joinery.workflow.checks.quorums import races
from joinery.workflow.checks.sites import Site, sites
from joinery.workflow.checks.unsure import unsure
from joinery.workflow.expressions import Reference, Template, parse_template, syntax_errors
from joinery.workflow.graph import END, START, Structure
from joinery.workflow.paths import NODE_FIELDS, path_text
from joinery.workflow.report import Collector, did_you_mean
from joinery.workflow.syntax import ExpressionSyntax

LOOP_FIELDS: Final = ("round", "previous")
RUN_FIELDS: Final = ("id",)
SESSION_FIELDS: Final = ("id",)

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "agent": NODE_FIELDS,
    "llm": NODE_FIELDS,
    "code": ("text", "output", "status", "error"),
    "tool": ("text", "output", "status", "error"),
    "template": ("text", "status", "error"),
    "transform": ("text", "output", "status", "error"),
    "condition": ("output", "status", "error"),
    "switch": ("output", "status", "error"),
    "loop": ("output", "status", "error"),
    "workflow": NODE_FIELDS,
    "question": ("text", "output", "status", "error"),
    "iterate": ("output", "status", "error"),
}

ITEM_FIELDS: Final = ("item", "index")
"""What an iterate node has besides, for the nodes of its body."""


def check_expressions(
    data: Mapping[str, Any],
    graph: RawGraph,
    structure: Structure,
    prompts: Mapping[str, str],
    out: Collector,
) -> None:
    """Reports everything that is wrong with the file's expressions."""
    checker = _Checker(data, graph, structure, out)
    for site in sites(data, graph, prompts):
        checker.check(site)


class _Checker:
    def __init__(
        self, data: Mapping[str, Any], graph: RawGraph, structure: Structure, out: Collector
    ) -> None:
        self.graph = graph
        self.out = out
        inputs = data.get("inputs")
        self.inputs: Mapping[str, Any] = inputs if isinstance(inputs, dict) else {}
        self.inputs_known = inputs is None or isinstance(inputs, dict)
        self.guarantees = guarantees.compute(graph, structure)
        self.races = races(graph, structure)
        self.scopes = structure.scope_of()
        self.iterates = {region.iterate: frozenset(region.body) for region in structure.iterates}
        self.bodies = {region.loop: frozenset(region.body) for region in structure.loops}
        self.unsure_here, self.unsure_of, self.circling = unsure(graph, structure)

    def check(self, site: Site) -> None:
        errors = syntax_errors(site.text)
        for error in errors:
            self._syntax(site, error)
        if errors:
            return
        template = parse_template(site.text)
        self._form(site, template)
        for reference in sorted(template.references, key=lambda r: (r.root, repr(r.path))):
            self._reference(site, reference)

    def _syntax(self, site: Site, error: ExpressionSyntax) -> None:
        where = "" if error.source else f" (character {error.offset + 1})"
        self._add(error.code, f"{error}{where}", site, error.hint)

    def _form(self, site: Site, template: Template) -> None:
        if not (site.condition or site.single) or template.single:
            return
        inner = site.text.strip() if not template.expressions else "nodes.x.output.y"
        if site.condition:
            self._add(
                "expression.not_a_condition",
                "a condition is exactly one expression that gives true or false",
                site,
                f'write "{{{{ {inner[:80]} }}}}"',
            )
        elif not template.expressions:
            self._add(
                "expression.not_a_condition",
                f"'{site.text[:80]}' is always the same text",
                site,
                f'write "{{{{ {inner[:80]} }}}}"',
            )

    def _add(
        self, code: str, message: str, site: Site, hint: str = "", *, warning: bool = False
    ) -> None:
        node = None if site.node in (START, END) else site.node
        severity = "warning" if warning else "error"
        self.out.add(code, message, site.pointer, hint=hint, node_id=node, severity=severity)

    # -- what is read -----------------------------------------------------------------------

    def _reference(self, site: Site, ref: Reference) -> None:
        match ref.root:
            case "inputs":
                self._input(site, ref)
            case "nodes":
                self._node(site, ref)
            case "loop":
                self._loop(site, ref)
            case "item":
                self._item(site, ref)
            case "run":
                self._fixed(site, ref, RUN_FIELDS)
            case "output" | "text":
                for problem in answer_problems(site, ref, self.graph):
                    self._add(*problem)
            case _:
                self._fixed(site, ref, SESSION_FIELDS)
                if not ref.optional:
                    self._may_be_missing(site, ref, "a run may have no session")

    def _fixed(self, site: Site, ref: Reference, fields: tuple[str, ...]) -> None:
        if ref.path and ref.path[0] not in fields:
            self._unknown_field(site, ref, str(ref.path[0]), fields)

    def _input(self, site: Site, ref: Reference) -> None:
        if not ref.path or not self.inputs_known:
            return
        name = str(ref.path[0])
        if name not in self.inputs:
            hint = did_you_mean(name, self.inputs) or f"declare it: inputs: {{{name}: {{}}}}"
            self._add("reference.unknown_input", f"there is no input '{name}'", site, hint)
            return
        spec = self.inputs[name]
        given = isinstance(spec, dict) and (
            spec.get("required") is True or spec.get("default") is not None
        )
        if isinstance(spec, dict) and not given and not ref.optional:
            self._may_be_missing(site, ref, f"input '{name}' is neither required nor has a default")

    def _may_be_missing(self, site: Site, ref: Reference, reason: str) -> None:
        self._add(
            "reference.may_be_missing",
            f"{ref.text}: {reason}",
            site,
            f"write {{{{ {ref.text} ?? '' }}}}",
            warning=True,
        )

    def _around(self, node: str) -> tuple[str, ...]:
        """Returns the loops around a node, outermost first."""
        return tuple(name for name in self.scopes.get(node, ()) if name in self.bodies)

    def _item(self, site: Site, ref: Reference) -> None:
        inside = any(site.node in body for body in self.iterates.values())
        if not inside and site.node not in self.unsure_here:
            self._add(
                "reference.outside_iterate",
                f"{ref.text}: this is in the body of no iterate node",
                site,
                "'item' is known to the nodes that an iterate node's port 'item' leads to",
            )

    def _loop(self, site: Site, ref: Reference) -> None:
        around = self._around(site.node)
        if not around:
            if site.node not in self.unsure_here:
                self._add(
                    "reference.outside_loop",
                    f"{ref.text}: this is in no loop",
                    site,
                    "'loop' is known to the nodes that a loop node repeats, and to itself",
                )
            return
        if ref.path[0] not in LOOP_FIELDS:
            self._unknown_field(site, ref, str(ref.path[0]), LOOP_FIELDS)
            return
        name = ref.node_id
        if not ref.previous or name is None:
            return
        if name not in self.graph.nodes:
            self._unknown_node(site, name)
        elif name not in self.bodies[around[-1]]:
            self._add(
                "reference.outside_loop",
                f"{ref.text}: '{name}' is not repeated by the loop '{around[-1]}'",
                site,
                f"write nodes.{name} for a node outside the loop",
            )
        else:
            self._field(site, ref, self.graph.nodes[name], ref.path[2:])
            if not ref.optional:
                self._add(
                    "reference.may_not_have_run",
                    f"{ref.text}: the first round has no round before it",
                    site,
                    f"write {{{{ {ref.text} ?? '' }}}}",
                )

    # -- nodes --------------------------------------------------------------------------------

    def _node(self, site: Site, ref: Reference) -> None:
        name = str(ref.path[0])
        if name not in self.graph.nodes:
            self._unknown_node(site, name)
            return
        if site.node in self.iterates.get(name, ()):
            self._of_item(site, ref, name)
            return
        seen_from_outside = self._outermost(site.node, name)
        path = _behind_indexes(ref.path[1:]) if seen_from_outside else ref.path[1:]
        self._field(site, ref, self.graph.nodes[name], path)
        if seen_from_outside:
            self._all_items(site, ref, name, seen_from_outside)
        elif site.after is not None and name == site.node:
            self._own_port(site, ref)
        elif name == site.node:
            self._not_run(
                site, ref, f"'{name}' would read its own result", self._instead(site, ref)
            )
        elif ref.path[1:2] == ("status",):
            return  # there is one whatever became of the node
        elif not self._is_unsure(site.node, name):
            self._has_run(site, ref, name)

    def _of_item(self, site: Site, ref: Reference, name: str) -> None:
        """Checks what a node of a body reads of its iterate node, which has ended well."""
        if ref.path[1:2] and ref.path[1] not in ITEM_FIELDS:
            self._field(site, ref, self.graph.nodes[name], ref.path[1:])
        if ref.path[1:2] == ("error",) and not ref.optional:
            reason = f"'{name}' has an error only after it failed"
            self._not_run(site, ref, reason, self._default(ref))

    def _outermost(self, reader: str, name: str) -> str | None:
        """Returns the outermost iterate node whose body holds a node and not its reader."""
        for each in self.scopes.get(name, ()):
            if name in self.iterates.get(each, ()) and reader not in self.iterates[each]:
                return each
        return None

    def _all_items(self, site: Site, ref: Reference, name: str, each: str) -> None:
        """Checks that all items have ended where their results are read."""
        if self._is_unsure(site.node, each) or self.guarantees.is_before(site.node, each):
            return
        hint = f"read it behind '{each}.done', which comes after all items"
        reason = f"{ref.text}: '{each}' does not run before this"
        if ref.optional:
            self._add("reference.not_before", reason, site, hint, warning=True)
        else:
            self._add("reference.may_not_have_run", reason, site, hint)

    def _is_unsure(self, node: str, name: str) -> bool:
        if node in self.unsure_here or name in self.unsure_of:
            return True
        # On a cycle either may be meant to be first; where the file's own order has the
        # other one first, what can be said about it holds.
        both = node in self.circling and name in self.circling
        return both and not self.guarantees.is_before(node, name)

    def _own_port(self, site: Site, ref: Reference) -> None:
        """Checks what an edge's condition reads of the node that the edge leaves."""
        on_error = self.graph.nodes[site.node].on_error
        failed = on_error == "route" and site.after == "error"
        if ref.optional or ref.path[1:2] == ("status",):
            return
        if ref.path[1:2] == ("error",):
            if not failed:
                self._not_run(site, ref, f"'{site.node}' may not have failed", self._default(ref))
        elif on_error == "continue" or failed:
            self._not_run(site, ref, f"'{site.node}' may have failed", self._default(ref))

    def _has_run(self, site: Site, ref: Reference, name: str) -> None:
        known = self.guarantees
        if not known.is_before(site.node, name):
            if ref.optional:
                self._add(
                    "reference.not_before",
                    f"{ref.text}: '{name}' does not run before this, so the default is used",
                    site,
                    self._instead(site, ref),
                    warning=True,
                )
            else:
                self._not_run(
                    site, ref, f"'{name}' does not run before this", self._instead(site, ref)
                )
            return
        if ref.optional:
            return
        on_error = self.graph.nodes[name].on_error
        if ref.path[1:2] == ("error",):
            if known.by_error_port(site.node, name):
                return
            reason = f"'{name}' has an error only after it failed"
        elif not known.has_run(site.node, name):
            reason = self._why_not(site.node, name)
        elif on_error == "continue":
            reason = f"'{name}' may have failed (on_error: continue)"
        elif on_error == "route" and not known.by_normal_port(site.node, name):
            reason = f"'{name}' may have failed and taken its port 'error'"
        else:
            return
        self._not_run(site, ref, reason, self._default(ref))

    def _why_not(self, node: str, name: str) -> str:
        join = self.races.around.get(name, "")
        if name in self.races.unsure.get(node, ()):
            join = node
        if join:
            return f"'{join}' does not wait for '{name}', which may be cancelled or fail"
        return f"'{name}' may have been skipped: not every way here leads through it"

    def _not_run(self, site: Site, ref: Reference, reason: str, hint: str) -> None:
        self._add("reference.may_not_have_run", f"{ref.text}: {reason}", site, hint)

    def _default(self, ref: Reference) -> str:
        return f"give a default: {{{{ {ref.text} ?? '' }}}}"

    def _instead(self, site: Site, ref: Reference) -> str:
        """Says what to write for a result that is not there in this round."""
        name, rest = str(ref.path[0]), ref.text.removeprefix("nodes.")
        around = self._around(site.node)
        if around and name in self.bodies[around[-1]]:
            return f"for the round before write {{{{ loop.previous.{rest} ?? '' }}}}"
        if site.node == name and site.answer:
            rest = path_text(ref.path[1:]) or "output"
            return f"a check reads the answer that it looks at with {{{{ {rest} }}}}"
        if site.node in (name, END):
            return ""
        return f"add the edge '{name} -> {site.node}' if it is to run first"

    def _unknown_node(self, site: Site, name: str) -> None:
        if name in (START, END):
            hint = f"'{name}' has no result" + (
                "; inputs are read with inputs.x" if name == START else ""
            )
        else:
            hint = did_you_mean(name, self.graph.nodes)
        self._add("reference.unknown_node", f"there is no node '{name}'", site, hint)

    def _field(
        self, site: Site, ref: Reference, node: RawNode, path: tuple[str | int, ...]
    ) -> None:
        """Reports fields that a node's result never has."""
        if not path:
            return
        field = str(path[0])
        if field not in NODE_FIELDS:
            self._unknown_field(site, ref, field, NODE_FIELDS)
            return
        if node.type is None or isinstance(node.on_error, dict):
            return  # what its default holds is the author's affair
        has = _FIELDS[node.type]
        output = node.data.get("output")
        if node.type in ("agent", "llm") and output is None and field == "output":
            self._add(
                "reference.unknown_field",
                f"{ref.text}: '{node.id}' declares no output",
                site,
                f"read nodes.{node.id}.text, or declare output: {{name: {{type: string}}}}",
            )
        elif field not in has:
            self._unknown_field(site, ref, field, has)
        elif field == "output" and isinstance(output, dict) and len(path) > 1:
            name = path[1]
            if isinstance(name, str) and name not in output:
                self._unknown_field(site, ref, name, tuple(output))

    def _unknown_field(
        self, site: Site, ref: Reference, name: str, options: tuple[str, ...]
    ) -> None:
        self._add(
            "reference.unknown_field",
            f"{ref.text}: there is no '{name}' here",
            site,
            did_you_mean(name, options),
        )


def _behind_indexes(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Returns a path into a list of results without the indexes that pick some of them."""
    while path and isinstance(path[0], int):
        path = path[1:]
    return path
