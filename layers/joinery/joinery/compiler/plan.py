"""The plan: a workflow made ready to run, as data.

A published version stores its plan, and runs stay pinned to it, so newer code
keeps reading older plans: fields are added with defaults, never renamed.
`PLAN_VERSION` grows when a plan means something that older code cannot run.

This module is imported by every node invocation: standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from joinery.workflow.graph import END, Link

PLAN_VERSION = 1

PURE_TYPES = frozenset({"template", "transform", "condition", "switch", "loop", "iterate"})
"""Nodes that compute from what is stored and touch nothing else."""

WAITING_TYPES = frozenset({"callback", "question", "review", "wait", "workflow"})
"""Nodes that are over when somebody says so: their Task waits for its token, at no cost."""

MODEL_TYPES = frozenset({"agent", "llm"})
"""Nodes that call a model: once an attempt, or in rounds where they have tools."""


def takes_inputs(node: PlanNode) -> bool:
    """Whether a node takes what the user says while it works: an agent with turns does."""
    return node.type == "agent" and bool(node.spec.get("tools"))


CODE_TYPES = frozenset({"code", "tool"})
"""Nodes that run code that users write, in a function of its own."""


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One node, with everything that running it needs.

    Attributes:
        id: Its id in the workflow file.
        ord: Its ordinal in topological order; part of its keys in the table.
        type: Its node type; `end` for the node that closes the run.
        spec: What the type needs: prompts, the merged model, cases, ….
        scope: The loop and iterate nodes around it, outermost first; one path part each.
        iterates: Those of `scope` that are iterate nodes.
        incoming: The edges into it in the order of the file, back edges left out.
        ports: The ports it may take; `("",)` when it decides nothing.
        reads: Ids of nodes whose results its expressions use.
        previous: Ids of nodes whose results of the round before it uses.
        attempts: Most attempts, the first included.
        backoff_s: Wait before the second attempt; doubles from there.
        retry_errors: Codes or class names that are retried, or None for all transient ones.
        timeout_s: From the start of the first attempt to the end of the last.
        on_error: `fail`, `continue`, `default` or `route`.
        default: Output of a failed node when `on_error` is `default`.
        probabilities: How often ports are taken, as far as the file says.
        name: What the file calls it for people, `""` where its id will do.
        join: 0 waits for all parents; k runs as soon as k edges into it were taken.
        contained: The node that a failure is left to, which else would fail the run: the
            join whose region this node is in, or an iterate node; `""` when there is none.
        hides: Of a join that waits for k, the parents it sees only if they are winners.
    """

    id: str
    ord: int
    type: str
    spec: Mapping[str, Any]
    scope: tuple[str, ...] = ()
    incoming: tuple[Link, ...] = ()
    ports: tuple[str, ...] = ("",)
    reads: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    attempts: int = 1
    backoff_s: float = 1.0
    retry_errors: tuple[str, ...] | None = None
    timeout_s: float = 300.0
    on_error: str = "fail"
    default: Any = None
    iterates: tuple[str, ...] = ()
    probabilities: Mapping[str, float] = field(default_factory=dict)
    name: str = ""
    join: int = 0
    contained: str = ""
    hides: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the node as JSON-ready data."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        data["incoming"] = [[e.source, e.port, e.target, e.when] for e in self.incoming]
        for name in ("scope", "ports", "reads", "previous", "iterates", "hides"):
            data[name] = list(data[name])
        if self.retry_errors is not None:
            data["retry_errors"] = list(self.retry_errors)
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> PlanNode:
        """Returns the node that `to_dict` wrote; unknown fields are ignored."""
        known = {name: data[name] for name in PlanNode.__slots__ if name in data}
        known["incoming"] = tuple(Link(*row) for row in data.get("incoming", ()))
        for name in ("scope", "ports", "reads", "previous", "iterates", "hides"):
            if name in known:
                known[name] = tuple(known[name])
        if known.get("retry_errors") is not None:
            known["retry_errors"] = tuple(known["retry_errors"])
        return PlanNode(**known)


DEPTH_DEFAULT = 10
"""Rounds of a loop after which the breaker stops a run that asks models in it."""


@dataclass(frozen=True, slots=True)
class PlanLoop:
    """A loop: its node, its body in topological order, and what begins a round."""

    loop: str
    body: tuple[str, ...]
    entries: tuple[str, ...]
    parent: str | None
    max_rounds: int
    expected_rounds: float | None = None


@dataclass(frozen=True, slots=True)
class PlanIterate:
    """An iterate node's body in topological order, what an item begins with, and its bounds.

    Attributes:
        iterate: The iterate node, which is not part of the body.
        body: All nodes that run for an item, inner loops and bodies included.
        entries: The nodes that an item begins with.
        parent: The loop or iterate node right around it, or None.
        max_items: Most items.
        concurrency: Most items that run at the same time.
        expected_items: So many items a run is expected to have, or None.
        distributed: Whether each item is an execution of its own, in a distributed Map.
    """

    iterate: str
    body: tuple[str, ...]
    entries: tuple[str, ...]
    parent: str | None
    max_items: int
    concurrency: int
    expected_items: int | None = None
    distributed: bool = False

    @property
    def at_once(self) -> int:
        """Most items that can run at the same time."""
        return min(self.concurrency, self.max_items)

    def to_row(self) -> list[Any]:
        """Returns it as JSON-ready data."""
        return [
            self.iterate, list(self.body), list(self.entries), self.parent, self.max_items,
            self.concurrency, self.expected_items, *([True] if self.distributed else []),
        ]  # fmt: skip

    @staticmethod
    def from_row(row: list[Any]) -> PlanIterate:
        """Returns what `to_row` wrote."""
        iterate, body, entries, *rest = row
        return PlanIterate(iterate, tuple(body), tuple(entries), *rest)


@dataclass(frozen=True)
class Plan:
    """A workflow version, ready to run.

    Attributes:
        name: The workflow's name.
        nodes: All nodes in topological order, `end` last.
        loops: All loops, outer before inner.
        iterates: All iterate nodes, outer before inner.
        groups: Which nodes one Task runs together, by the first of them.
        inputs: The declared inputs: `{name: {type, required, default}}`.
        outputs: The outputs with their expressions.
        opt: The optimisation level that `groups` came from.
        graph_hash: SHA-256 of the canonical workflow.
        compiler: Version of the compiler that made the plan.
        whole: Loops that one Task runs with all their rounds.
        run_on: `standard`, a machine of many states, or `inline`, one Task for the whole plan.
        width: How many nodes may be at work at once, at most.
        budget: What a run may use: `{tokens?, usd?}`; empty for no limit.
        breaker: What the workflow says of the breaker's rules; `{"off": true}` for none.
        models: What the workflow's names of models stand for.
        packages: The packages of its code by the name of their requirements, each as
            `joinery.packages.model.Package` has it.
    """

    name: str
    nodes: tuple[PlanNode, ...]
    loops: tuple[PlanLoop, ...] = ()
    iterates: tuple[PlanIterate, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    opt: int = 1
    graph_hash: str = ""
    compiler: str = ""
    plan_version: int = PLAN_VERSION
    width: int = 1

    @cached_property
    def by_id(self) -> dict[str, PlanNode]:
        """All nodes by id."""
        return {node.id: node for node in self.nodes}

    @cached_property
    def by_ord(self) -> dict[int, PlanNode]:
        """All nodes by ordinal."""
        return {node.ord: node for node in self.nodes}

    @cached_property
    def loop_of(self) -> dict[str, PlanLoop]:
        """All loops by the id of their loop node."""
        return {loop.loop: loop for loop in self.loops}

    @cached_property
    def iterate_of(self) -> dict[str, PlanIterate]:
        """All iterate nodes' bodies by the id of their iterate node."""
        return {each.iterate: each for each in self.iterates}

    @cached_property
    def outgoing(self) -> dict[str, dict[str, list[Link]]]:
        """Every edge but those back, by source and port, in the order of the file."""
        found: dict[str, dict[str, list[Link]]] = {"start": {"": []}}
        for node in self.nodes:
            found[node.id] = {port: [] for port in node.ports}
        ranked: list[tuple[int, Link]] = []
        for node in self.nodes:
            ranked.extend((self._rank.get(link, 0), link) for link in node.incoming)
        for _, link in sorted(ranked, key=lambda pair: pair[0]):
            found[link.source].setdefault(link.port, []).append(link)
        return found

    @cached_property
    def _rank(self) -> dict[Link, int]:
        return {link: rank for rank, link in enumerate(self.links)}

    links: tuple[Link, ...] = ()
    """Every edge but those back, in the order of the file."""

    whole: tuple[str, ...] = ()
    run_on: str = "standard"
    budget: Mapping[str, Any] = field(default_factory=dict)
    breaker: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    packages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def for_stage(self, stage: str) -> Plan:
        """Returns the plan with the models that its names of models stand for in a stage."""
        if not self.models:
            return self
        from joinery.llm.aliases import resolve_layers

        nodes = []
        for node in self.nodes:
            layers = node.spec.get("model_layers")
            if layers is not None:
                model = resolve_layers(layers, self.models, stage)
                nodes.append(replace(node, spec={**node.spec, "model": model}))
            else:
                nodes.append(node)
        return replace(self, nodes=tuple(nodes))

    def task_scope(self, name: str) -> tuple[str, ...]:
        """Returns what is around the Task that runs a node: its scope, without whole loops."""
        scope = self.by_id[name].scope
        for depth, loop in enumerate(scope):
            if loop in self._whole:
                return scope[:depth]
        return scope

    @cached_property
    def _whole(self) -> frozenset[str]:
        return frozenset(self.whole)

    def group(self, head: str) -> tuple[str, ...]:
        """Returns the nodes that the Task of `head` runs, in order."""
        return self.groups.get(head, (head,))

    def to_dict(self) -> dict[str, Any]:
        """Returns the plan as JSON-ready data."""
        return {
            "plan_version": self.plan_version,
            "name": self.name,
            "opt": self.opt,
            "graph_hash": self.graph_hash,
            "compiler": self.compiler,
            "width": self.width,
            "inputs": {name: dict(spec) for name, spec in self.inputs.items()},
            "outputs": dict(self.outputs),
            "nodes": [node.to_dict() for node in self.nodes],
            "loops": [
                [
                    loop.loop,
                    list(loop.body),
                    list(loop.entries),
                    loop.parent,
                    loop.max_rounds,
                    loop.expected_rounds,
                ]
                for loop in self.loops
            ],
            "iterates": [each.to_row() for each in self.iterates],
            "groups": {head: list(members) for head, members in self.groups.items()},
            "links": [[e.source, e.port, e.target, e.when] for e in self.links],
            "whole": list(self.whole),
            "run_on": self.run_on,
            **({"budget": dict(self.budget)} if self.budget else {}),
            **({"breaker": dict(self.breaker)} if self.breaker else {}),
            **({"models": dict(self.models)} if self.models else {}),
            **({"packages": dict(self.packages)} if self.packages else {}),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Plan:
        """Returns the plan that `to_dict` wrote.

        Raises:
            ValueError: The plan is newer than this code.
        """
        if data["plan_version"] > PLAN_VERSION:
            raise ValueError(f"plan version {data['plan_version']} is newer than {PLAN_VERSION}")
        return Plan(
            name=data["name"],
            nodes=tuple(PlanNode.from_dict(node) for node in data["nodes"]),
            loops=tuple(
                PlanLoop(loop, tuple(body), tuple(entries), *more)
                for loop, body, entries, *more in data["loops"]
            ),
            iterates=tuple(PlanIterate.from_row(row) for row in data.get("iterates", ())),
            groups={head: tuple(members) for head, members in data["groups"].items()},
            inputs=data["inputs"],
            outputs=data["outputs"],
            opt=data["opt"],
            graph_hash=data["graph_hash"],
            compiler=data["compiler"],
            width=data.get("width", 1),
            plan_version=data["plan_version"],
            links=tuple(Link(*row) for row in data["links"]),
            whole=tuple(data.get("whole", ())),
            run_on=data.get("run_on", "standard"),
            budget=data.get("budget", {}),
            breaker=data.get("breaker", {}),
            models=data.get("models", {}),
            packages=data.get("packages", {}),
        )


def end_of(plan: Plan) -> PlanNode:
    """Returns the node that closes a run of the plan."""
    return plan.by_id[END]


def items_of(plan: Plan, node_id: str) -> tuple[float, float, float]:
    """Returns the least, expected and most items of an iterate node.

    Where the workflow does not say how many to expect, it is half of the most.
    """
    each = plan.iterate_of[node_id]
    expected = each.max_items / 2 if each.expected_items is None else each.expected_items
    return 0, expected, each.max_items


def joins_around(plan: Plan, node: PlanNode) -> Iterator[PlanNode]:
    """Yields the joins in whose regions a node is, innermost first.

    An iterate node that is such a join as well contains its body as what it iterates.
    """
    while node.contained:
        container = plan.by_id[node.contained]
        if container.id not in node.iterates:
            yield container
        node = container


def join_of(plan: Plan, node: PlanNode) -> PlanNode | None:
    """Returns the join that a node's failure is left to, if it is left to a join."""
    if not node.contained or node.contained in node.iterates:
        return None
    return plan.by_id[node.contained]
