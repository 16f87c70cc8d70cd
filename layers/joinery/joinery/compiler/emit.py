"""Plan → Amazon States Language, in JSONata mode with field access only.

Ids travel in the context object and in variables, never in state input and
output, so nothing is lost where a box's or a Catch's output replaces the input:
the run and its plan come from `$states.context.Execution.Input`, the loop rounds
from one variable a loop, `$path_<loop node>`, which the states that lead into a
round assign. Only `port` (and the next round's `path`) is read from a Task's
result, by the Choice right behind it. The one exception is the Task inside a Map
over branches: its input is the item, which is the node to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from joinery import limits
from joinery.compiler.levels import Chain, levels_of, units_of
from joinery.compiler.names import Names
from joinery.compiler.plan import Plan
from joinery.compiler.regions import Regions
from joinery.compiler.states import RUN_NODE_PLACEHOLDER, invoke, likeness, result_of
from joinery.workflow.graph import END, START


@dataclass(frozen=True, slots=True)
class StateInfo:
    """What the price of a state depends on; kept beside the definition."""

    kind: str
    scope: tuple[str, ...]
    nodes: tuple[str, ...] = ()
    back: frozenset[str] = frozenset()


@dataclass(slots=True)
class Emitted:
    """A definition and, for each of its states, what it stands for."""

    definition: dict[str, Any]
    info: dict[str, StateInfo]


@dataclass(slots=True)
class _Scope:
    """One `States` map under construction: the machine's own or a branch's."""

    stop: frozenset[str]
    states: dict[str, Any] = field(default_factory=dict)
    placed: dict[tuple[str, ...], str] = field(default_factory=dict)
    todo: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    leave: str | None = None


def emit(plan: Plan, run_node_arn: str = RUN_NODE_PLACEHOLDER) -> Emitted:
    """Returns the state machine of a plan; equal plans give equal bytes.

    Raises:
        InvalidWorkflow: A region has a shape that this release cannot compile.
    """
    return _Emitter(plan, run_node_arn).machine()


class _Emitter:
    def __init__(self, plan: Plan, run_node_arn: str) -> None:
        self.plan = plan
        self.arn = run_node_arn
        self.regions = Regions(plan)
        self.names = Names()
        self.info: dict[str, StateInfo] = {}

    def machine(self) -> Emitted:
        first = [link.target for link in self.plan.outgoing[START][""]]
        body = self.scope(first, stop=frozenset(), around=())
        comment = (
            f"{self.plan.name} | graph sha256:{self.plan.graph_hash[:16]}"
            f" | joinery {self.plan.compiler} -O{self.plan.opt}"
        )
        return Emitted({"Comment": comment, "QueryLanguage": "JSONata", **body}, self.info)

    # -- scopes and transitions --------------------------------------------------------

    def scope(
        self, first: Sequence[str], *, stop: frozenset[str], around: tuple[str, ...]
    ) -> dict[str, Any]:
        """Emits everything from `first` up to `stop`, whose nodes belong to the scope outside."""
        scope = _Scope(stop)
        name, assign = self.enter(scope, first, around)
        if name is None:
            raise AssertionError("a branch without a state")
        if assign:
            # Nothing before this state could assign the first round.
            entered = self.names.take(f"enter {next(iter(assign)).removeprefix('path_')}")
            self.info[entered] = StateInfo("pass", around)
            scope.states[entered] = {"Type": "Pass", "Assign": assign, "Next": name}
            name = entered
        while scope.todo:
            targets, state = scope.todo.pop(0)
            if len(targets) == 1:
                self.task(scope, targets[0], state)
            else:
                self.box(scope, targets, state)
        if scope.leave:
            scope.states[scope.leave] = {"Type": "Succeed"}
        return {"StartAt": name, "States": scope.states}

    def enter(
        self, scope: _Scope, wanted: Sequence[str], around: tuple[str, ...]
    ) -> tuple[str | None, dict[str, str]]:
        """Names the state that runs `wanted` next, and what must be assigned on the way.

        Returns None for the name where the way leaves the scope.
        """
        targets = self.regions.forked(wanted, scope.stop)
        if not targets:
            return None, {}
        common = self._around(targets)
        assign: dict[str, str] = {}
        for depth in range(len(_common(around, common)), len(common)):
            first = "{% $path_" + common[depth - 1] + " & '.1' %}" if depth else "1"
            assign[f"path_{common[depth]}"] = first
        if targets not in scope.placed:
            if len(targets) == 1:
                name = self.names.take(targets[0])
            else:
                name = self.names.take_list("fork ", list(targets))
            scope.placed[targets] = name
            scope.todo.append((targets, name))
        return scope.placed[targets], assign

    def follow(
        self, scope: _Scope, state: dict[str, Any], wanted: Sequence[str], around: tuple[str, ...]
    ) -> None:
        """Sets where a state with one way out leads."""
        name, assign = self.enter(scope, wanted, around)
        if assign and state["Type"] == "Parallel":
            # A Parallel's Assign does nothing on the local emulator.
            between = self.names.take(f"enter {next(iter(assign)).removeprefix('path_')}")
            self.info[between] = StateInfo("pass", around)
            scope.states[between] = {"Type": "Pass", "Assign": assign, "Next": name}
            name, assign = between, {}
        if assign:
            state["Assign"] = {**state.get("Assign", {}), **assign}
        if name is None:
            state["End"] = True
            if scope.stop:
                state["Output"] = {}
        else:
            state["Next"] = name

    # -- states ------------------------------------------------------------------------

    def task(self, scope: _Scope, head: str, name: str) -> None:
        group = self.plan.group(head)
        last = self.plan.by_id[group[-1]]
        state = self._task(head, last.scope)
        scope.states[name] = state
        self.info[name] = StateInfo("task", last.scope, group)
        if last.id == END:
            state["End"] = True
        elif last.ports == ("",):
            wanted = [link.target for link in self.plan.outgoing[last.id][""]]
            self.follow(scope, state, wanted, last.scope)
        else:
            self.choice(scope, state, last.id)

    def choice(self, scope: _Scope, task: dict[str, Any], node_id: str) -> None:
        """Emits the Choice behind a Task that decides a port."""
        node = self.plan.by_id[node_id]
        loop = self.plan.loop_of.get(node_id)
        ways: list[tuple[str, str, dict[str, str]]] = []
        back: set[str] = set()
        for port in node.ports:
            if loop and port == "repeat":
                target, assign = self.enter(scope, loop.entries, node.scope)
                assign = {f"path_{node_id}": "{% $states.input.path %}", **assign}
                back.add(str(target))
            else:
                target, assign = self.enter(
                    scope, self.regions.port_targets(node_id, port), node.scope
                )
            if target is None:
                scope.leave = scope.leave or self.names.take(f"leave after {node_id}")
                self.info[scope.leave] = StateInfo("succeed", node.scope)
                target = scope.leave
            ways.append((port, target, assign))
        task["Output"] = result_of(self.plan, node_id)
        if all(way[1:] == ways[0][1:] for way in ways):
            task["Next"] = ways[0][1]
            if ways[0][2]:
                task["Assign"] = ways[0][2]
            return
        name = self.names.take(f"after {node_id}")
        task["Next"] = name
        *rules, (_, default, default_assign) = ways
        rows = []
        for port, target, assign in rules:
            if (target, assign) == (default, default_assign):
                continue
            row: dict[str, Any] = {"Condition": "{% $states.input.port = '" + port + "' %}"}
            if assign:
                row["Assign"] = assign
            rows.append({**row, "Next": target})
        choice: dict[str, Any] = {"Type": "Choice", "Choices": rows}
        if default_assign:
            choice["Assign"] = default_assign
        scope.states[name] = {**choice, "Default": default}
        self.info[name] = StateInfo("choice", node.scope, (node_id,), frozenset(back))

    def box(self, scope: _Scope, targets: tuple[str, ...], name: str) -> None:
        """Emits a fork up to its join: a Map over Tasks that are alike, else a Parallel."""
        join = self.regions.join_of(targets)
        around = self._around(targets)
        branches = self.regions.branches(targets, join)
        if branches is None:
            self.levels(scope, targets, join, name)
            return
        plain = all(
            set(self.plan.group(branch.entries[0])) == branch.nodes
            and self.plan.by_id[self.plan.group(branch.entries[0])[-1]].ports == ("",)
            for branch in branches
        )
        if plain and self._are_alike(targets):
            state = self._map(targets, around)
            self.info[name] = StateInfo("map", around, targets)
        else:
            stop = frozenset({join})
            scopes = [self.scope(b.entries, stop=stop, around=around) for b in branches]
            state = {"Type": "Parallel", "Branches": scopes, "Output": {}}
            self.info[name] = StateInfo("parallel", around, targets)
        scope.states[name] = state
        self.follow(scope, state, [join], around)

    # -- rigid regions -----------------------------------------------------------------

    def levels(self, scope: _Scope, targets: tuple[str, ...], join: str, name: str) -> None:
        """Emits a region in levels, the first state under `name`."""
        around = self._around(targets)
        nodes = self.regions.region(targets, join, len(around))
        steps: list[list[Chain]] = []
        for level in levels_of(units_of(self.plan, nodes, len(around))):
            # A chain that has its level for itself needs no box.
            alone = len(level) == 1 and not level[0][0].is_loop
            steps.extend([[unit]] for unit in level[0]) if alone else steps.append(level)
        for position, step in enumerate(steps):
            state = self._step(step, name, around)
            scope.states[name] = state
            if position + 1 == len(steps):
                self.follow(scope, state, [join], around)
            else:
                heads = [chain[0].name for chain in steps[position + 1]]
                prefix = "" if len(heads) == 1 else "then "
                name = state["Next"] = self.names.take_list(prefix, heads)

    def _step(self, chains: list[Chain], name: str, around: tuple[str, ...]) -> dict[str, Any]:
        """Returns the state of one level, and notes what it costs."""
        heads = tuple(chain[0].name for chain in chains)
        tasks = all(len(chain) == 1 and not chain[0].is_loop for chain in chains)
        if tasks and len(heads) == 1:
            group = self.plan.group(heads[0])
            self.info[name] = StateInfo("task", around, group)
            return self._task(heads[0], around)
        if tasks and self._are_alike(heads):
            self.info[name] = StateInfo("map", around, heads)
            return self._map(heads, around)
        self.info[name] = StateInfo("parallel", around, heads)
        branches = [self._chain(chain, around) for chain in chains]
        return {"Type": "Parallel", "Branches": branches, "Output": {}}

    def _chain(self, chain: Chain, around: tuple[str, ...]) -> dict[str, Any]:
        """Returns the scope of one chain: its Tasks in a row, or its loop."""
        first = chain[0]
        if first.is_loop:
            entries = self.plan.loop_of[first.name].entries
            outside = frozenset(self.plan.by_id) - frozenset(first.nodes)
            return self.scope(entries, stop=outside, around=around)
        names = [self.names.take(unit.name) for unit in chain]
        states: dict[str, Any] = {}
        for unit, name, following in zip(chain, names, [*names[1:], None], strict=True):
            group = self.plan.group(unit.name)
            way: dict[str, Any] = {"Next": following} if following else {"End": True}
            states[name] = {
                **self._task(unit.name, around),
                **way,
            }
            self.info[name] = StateInfo("task", around, group)
        return {"StartAt": names[0], "States": states}

    def _map(self, targets: tuple[str, ...], around: tuple[str, ...]) -> dict[str, Any]:
        inner = self.names.take_list("", list(targets))
        every = tuple(node for target in targets for node in self.plan.group(target))
        task = invoke(self.plan, self.arn, targets[0], around, item=True)
        self.info[inner] = StateInfo("task", around, every)
        return {
            "Type": "Map",
            "Items": list(targets),
            "MaxConcurrency": len(targets),
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": inner,
                "States": {inner: {**task, "Output": {}, "End": True}},
            },
            "Output": {},
        }

    def _task(self, head: str, around: tuple[str, ...]) -> dict[str, Any]:
        return invoke(self.plan, self.arn, head, around)

    def _around(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Returns the loops that are around all of some nodes."""
        common = self.plan.by_id[targets[0]].scope
        for target in targets[1:]:
            common = _common(common, self.plan.by_id[target].scope)
        return common

    def _are_alike(self, heads: Sequence[str]) -> bool:
        """Whether Tasks may share one state inside a Map."""
        alike = {likeness(self.plan, head) for head in heads}
        return len(alike) == 1 and len(heads) <= limits.SFN_INLINE_MAP_WIDTH


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    return a[:length]
