"""Workflow → plan: ordinals, scopes, merged settings, and which nodes share a Task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

import joinery
from joinery import limits
from joinery.compiler.asking import aliases_of, model_spec
from joinery.compiler.iterates import ITEM_READ, iterates_of, with_bodies
from joinery.compiler.opt import DEFAULT_OPT
from joinery.compiler.plan import PURE_TYPES, WAITING_TYPES, Plan, PlanLoop, PlanNode
from joinery.compiler.races import with_races
from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow.bodies import ITEM, analyse_all
from joinery.workflow.expressions import references
from joinery.workflow.graph import END, START, Link, Structure

if TYPE_CHECKING:
    from joinery.workflow import model as m
    from joinery.workflow.children import KnownChild


EXPRESSION_FIELDS = (
    "prompt", "template", "value", "if", "cases", "until", "items", "arguments", "inputs",
    "images", "files", "checks",
)  # fmt: skip
"""Fields of a node's spec that hold expressions; personas and schemas are taken as they are."""


def build_plan(
    workflow: m.Workflow,
    *,
    opt: int = DEFAULT_OPT,
    children: Mapping[str, KnownChild] | None = None,
) -> Plan:
    """Makes the plan of a valid workflow.

    Args:
        workflow: A workflow that passed validation, prompt files read in.
        opt: Optimisation level: 0 one Task a node, 1 pure nodes folded into the
            Tasks beside them, 2 nodes that run one after another fused.
        children: The child workflows that are known, by node, and of tools by
            `child_of_tool`: the plan pins them.

    Raises:
        InvalidWorkflow: The workflow uses something this release cannot run.
    """
    links = [
        Link(edge.from_, edge.port or "", edge.to, edge.when) for edge in workflow.expanded_edges()
    ]
    names = [START, *workflow.nodes, END]
    loop_ids = [name for name, node in workflow.nodes.items() if node.type == "loop"]
    iterate_ids = [name for name, node in workflow.nodes.items() if node.type == "iterate"]
    structure = analyse_all(names, links, loop_ids, iterate_ids)
    _refuse_what_cannot_run(workflow, structure, links)
    forward = tuple(link for link in links if link not in structure.back_edges)
    scopes = structure.scope_of()
    order = [name for name in structure.order if name not in (START, END)] + [END]
    incoming: dict[str, list[Link]] = {name: [] for name in order}
    conditions: dict[str, list[str]] = {}
    leaves_by: dict[str, set[str]] = {}
    for link in links:
        leaves_by.setdefault(link.source, set()).add(link.port)
    for link in forward:
        incoming[link.target].append(link)
        if link.when is not None:
            conditions.setdefault(link.source, []).append(link.when)
    nodes = tuple(
        _node(
            (name, ordinal, scopes[name]),
            workflow,
            tuple(incoming[name]),
            conditions.get(name, []),
            children or {},
            leaves_by=leaves_by.get(name, ()),
        )
        for ordinal, name in enumerate(order)
    )
    loops = tuple(
        PlanLoop(r.loop, r.body, r.entries, r.parent, *_rounds(workflow, r.loop))
        for r in structure.loops
    )
    iterates = iterates_of(workflow, structure)
    canonical = workflow.model_dump(mode="json", by_alias=True, exclude_unset=True)
    # However the edges are written, they are the same workflow.
    edges = workflow.expanded_edges()
    canonical["edges"] = [edge.model_dump(by_alias=True, exclude_none=True) for edge in edges]
    digest = hashlib.sha256(
        json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
    plan = Plan(
        name=workflow.name,
        nodes=with_bodies(nodes, workflow),
        loops=loops,
        iterates=iterates,
        inputs={name: spec.declared() for name, spec in workflow.inputs.items()},
        outputs=workflow.outputs,
        opt=opt,
        graph_hash=digest,
        compiler=joinery.__version__,
        links=forward,
        budget=workflow.budget.model_dump(exclude_none=True) if workflow.budget else {},
        breaker=_breaker(workflow),
        models=aliases_of(workflow),
    )
    plan = with_races(plan)
    whole: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = {}
    if opt == 1:
        groups = fold(plan)
    elif opt == 2:
        from joinery.compiler.fuse import fuse

        groups, whole = fuse(plan)
    return Plan(**{**_fields(plan), "groups": groups, "whole": whole})


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in Plan.__dataclass_fields__}


def _breaker(workflow: m.Workflow) -> dict[str, Any]:
    said = workflow.breaker
    return {"off": True} if isinstance(said, str) else said.model_dump(exclude_none=True)


def _rounds(workflow: m.Workflow, loop: str) -> tuple[int, float | None]:
    node: Any = workflow.nodes[loop]
    return int(node.max_rounds), node.expected_rounds


def _refuse_what_cannot_run(workflow: m.Workflow, structure: Structure, links: list[Link]) -> None:
    """Raises for parts of the format that validate but do not run in this release."""
    problems: list[Problem] = []
    for link in links:
        if link.when is None:
            continue
        to_item = link.port == ITEM and any(r.iterate == link.source for r in structure.iterates)
        if to_item or link.source == START or link in structure.back_edges:
            problems.append(
                Problem(
                    "plan.when_not_available",
                    f"edge {link.source} -> {link.target}: 'when' does not run on an edge that "
                    "leaves start, leads back in a loop or begins an item",
                    hint="put a condition node between them",
                    node_id=None if link.source == START else link.source,
                    pointer="/edges",
                )
            )
    for problem in structure.problems:
        problems.append(
            Problem(
                f"graph.{problem.kind}",
                f"the cycle through {', '.join(problem.nodes)} is no loop",
                node_id=problem.nodes[0],
                pointer="/edges",
            )
        )
    for name, node in workflow.nodes.items():
        timeout, waits = _timeout(node, workflow), node.type in WAITING_TYPES
        longest = limits.WAIT_TIMEOUT_S if waits else limits.NODE_TIMEOUT_S
        if timeout > longest:
            kind = "waits for somebody" if waits else "waits for nobody"
            problems.append(
                Problem(
                    "limit.timeout",
                    f"node '{name}': a timeout of {timeout:g} s; a node that {kind} "
                    f"may take {longest} s at most",
                    node_id=name,
                    pointer=f"/nodes/{name}/timeout",
                )
            )
    if len(workflow.nodes) > limits.NODES_MAX:
        problems.append(
            Problem(
                "limit.nodes",
                f"{len(workflow.nodes)} nodes; the limit is {limits.NODES_MAX}",
                pointer="/nodes",
            )
        )
    if problems:
        raise InvalidWorkflow(problems)


# -- one node ------------------------------------------------------------------------------


def _node(
    place: tuple[str, int, tuple[str, ...]],
    workflow: m.Workflow,
    incoming: tuple[Link, ...],
    conditions: list[str],
    children: Mapping[str, KnownChild],
    *,
    leaves_by: Collection[str],
) -> PlanNode:
    """Returns a node by its `(name, ordinal, scope)`.

    `conditions` are those of its edges, and `leaves_by` the ports that these use.
    """
    name, ordinal, scope = place
    if name == END:
        reads, previous = _reads(workflow.outputs)
        return PlanNode(
            id=END, ord=ordinal, type="end", spec={}, scope=scope, incoming=incoming,
            reads=reads, previous=previous, attempts=3, timeout_s=60.0,
        )  # fmt: skip
    from joinery.workflow.model import DefaultOutput, ports_of

    node = workflow.nodes[name]
    spec = _spec(name, node, workflow, children)
    said = [spec[field] for field in EXPRESSION_FIELDS if field in spec]
    reads, previous = _reads([*said, *conditions])
    retry = node.retry or workflow.defaults.retry
    has_default = isinstance(node.on_error, DefaultOutput)
    return PlanNode(
        id=name,
        ord=ordinal,
        type=node.type,
        spec=spec,
        scope=scope,
        incoming=incoming,
        ports=ports_of(node, leaves_by),
        reads=reads,
        previous=previous,
        attempts=retry.attempts,
        backoff_s=retry.backoff,
        retry_errors=None if retry.errors is None else tuple(retry.errors),
        timeout_s=_timeout(node, workflow),
        on_error="default" if has_default else str(node.on_error),
        default=node.on_error.default if isinstance(node.on_error, DefaultOutput) else None,
        probabilities=dict(node.probabilities),
        name=node.name,
        join=_join(node.join),
    )


_WAITS_S: Final = {
    "question": limits.QUESTION_TIMEOUT_S,
    "workflow": limits.CHILD_TIMEOUT_S,
}
"""Longest wait of a node that says nothing itself: `defaults.timeout` is for work."""


def _timeout(node: Any, workflow: m.Workflow) -> float:
    if node.timeout is None and node.type in WAITING_TYPES:
        return float(_WAITS_S[node.type])
    return float(node.timeout or workflow.defaults.timeout)


def _join(said: Any) -> int:
    """Returns how many edges a join waits for; 0 is all of them."""
    if isinstance(said, str):
        return {"all": 0, "any": 1}[said]
    return int(said.at_least)


def _spec(
    name: str, node: Any, workflow: m.Workflow, children: Mapping[str, KnownChild]
) -> dict[str, Any]:
    match node.type:
        case "agent":
            from joinery.compiler.tools import agent_tools

            agent = workflow.agents[node.agent]
            spec = model_spec(node, workflow, agent.persona, agent.model)
            return {**spec, **agent_tools(agent, workflow, children, node.tools)}
        case "llm":
            return model_spec(node, workflow, node.system, None)
        case "template":
            return {"template": node.template}
        case "transform":
            return {"value": node.value}
        case "condition":
            return {"if": node.if_}
        case "switch":
            return {"value": node.value, "cases": [_case(p, c) for p, c in node.cases.items()]}
        case "code" | "tool":
            from joinery.compiler.code import code_spec

            return code_spec(node, workflow)
        case "loop":
            return {"until": node.until, "max_rounds": node.max_rounds}
        case "workflow":
            child = children.get(name)
            return {
                "workflow": node.workflow if child is None else child.name,
                "workflow_id": "" if child is None else child.workflow_id,
                "version": (node.version or 0) if child is None else child.version,
                "inputs": node.inputs,
            }
        case "question":
            from joinery.workflow.answers import options_of

            return {
                "prompt": node.prompt,
                "options": options_of(node.options),
                "schema": node.schema_,
                **({"default": node.default} if node.has_default else {}),
            }
        case "iterate":
            return {"items": node.items, "max_items": node.max_items}
    raise AssertionError(node.type)


def _case(port: str, case: Any) -> list[Any]:
    """Returns `[port, kind, value]`; kind is `range` or `in`."""
    if hasattr(case, "min"):
        return [port, "range", [case.min, case.max]]
    return [port, "in", case if isinstance(case, list) else [case]]


def _reads(value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    reads: set[str] = set()
    previous: set[str] = set()
    for ref in references(value):
        if ref.root == "nodes":
            reads.add(str(ref.path[0]))
        elif ref.root == "item":
            reads.add(ITEM_READ)
        elif ref.root == "loop" and len(ref.path) > 1 and ref.path[0] == "previous":
            previous.add(str(ref.path[1]))
    return tuple(sorted(reads)), tuple(sorted(previous))


# -- level 1: fold pure nodes ------------------------------------------------------------------


def fold(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Returns which nodes share a Task at level 1, by the first of them.

    Two neighbours on a straight line share a Task when at least one of them is
    pure, so a Task never holds two nodes with effects: after a crash nothing
    that cost money runs again.
    """
    head_of: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for node in plan.nodes:
        head_of[node.id] = node.id
        members[node.id] = [node.id]
    effects = {node.id: int(node.type not in PURE_TYPES) for node in plan.nodes}
    for node in plan.nodes:
        if node.id == END or node.join or len(node.incoming) != 1:
            continue
        source = node.incoming[0].source
        if source == START or not _straight(plan, source, node):
            continue
        head = head_of[source]
        if effects[head] + effects[node.id] > 1:
            continue
        effects[head] += effects[node.id]
        members[head].append(node.id)
        head_of[node.id] = head
        del members[node.id]
    return {head: tuple(names) for head, names in members.items() if len(names) > 1}


def _straight(plan: Plan, source: str, node: PlanNode) -> bool:
    before = plan.by_id[source]
    if WAITING_TYPES & {before.type, node.type}:
        return False  # its Task ends when the token is sent, not when the function does
    if before.ports != ("",) or before.scope != node.scope:
        return False
    return len(plan.outgoing[source][""]) == 1 and node.incoming[0].when is None
