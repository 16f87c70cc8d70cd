"""Plan → Amazon States Language, in JSONata mode with field access only.

Ids travel in the context object and in variables, never in state input and
output, so nothing is lost where a box's or a Catch's output replaces the input:
the run and its plan come from `$states.context.Execution.Input`, the loop rounds
from one variable a loop, `$path_<loop node>`, which the states that lead into a
round assign. Only `port` (and the next round's `path`) is read from a Task's
result, by the Choice right behind it. There are two exceptions: the Task inside a
Map over branches, whose input is the node to run, and the Map of an iterate node,
which takes the items' paths from its Task (iterations.py).
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from joinery import limits
from joinery.compiler.catchers import catch, nodes_in, regions_of
from joinery.compiler.closing import closed
from joinery.compiler.distributed import EXCEEDED
from joinery.compiler.flow import deciding_ports, flow_of
from joinery.compiler.iterations import iterate_behind, place_map, states_behind
from joinery.compiler.levels import Chain, levels_of, units_of
from joinery.compiler.names import Names
from joinery.compiler.plan import Plan
from joinery.compiler.regions import LeavesLoop, Outside, Regions
from joinery.compiler.states import RUN_NODE_PLACEHOLDER, StateInfo, invoke, likeness
from joinery.compiler.steps import steps_of
from joinery.workflow.bodies import DONE, ITEM
from joinery.workflow.graph import END, START


@dataclass(slots=True)
class Emitted:
    """A definition and, for each of its states, what it stands for."""

    definition: dict[str, Any]
    info: dict[str, StateInfo]

    def text(self, *, indent: int | None = None) -> str:
        """Returns the definition as it is published; equal workflows give equal bytes."""
        separators = None if indent else (",", ":")
        return json.dumps(self.definition, indent=indent, separators=separators, ensure_ascii=False)


@dataclass(slots=True)
class _Scope:
    """One `States` map under construction: the machine's own or a branch's."""

    stop: Container[str]
    states: dict[str, Any] = field(default_factory=dict)
    placed: dict[tuple[str, ...], str] = field(default_factory=dict)
    todo: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    leave: str | None = None
    around: tuple[str, ...] = ()


def emit(plan: Plan, run_node_arn: str = RUN_NODE_PLACEHOLDER) -> Emitted:
    """Returns the state machine of a plan; equal plans give equal bytes."""
    if plan.run_on == "inline":
        from joinery.compiler.one_task import one_task

        return one_task(plan, run_node_arn)
    drawn = plan
    loops: set[str] = set()
    while True:
        try:
            return _Emitter(drawn, run_node_arn).machine()
        except LeavesLoop as found:
            if found.loop in loops:
                raise AssertionError(f"loop {found.loop} cannot be closed") from found
            loops.add(found.loop)
            drawn = closed(plan, loops)


class _Emitter:
    def __init__(self, plan: Plan, run_node_arn: str) -> None:
        self.plan = plan
        self.arn = run_node_arn
        self.regions = Regions(plan)
        self.races = regions_of(plan)
        self.flow = flow_of(plan) if plan.opt >= 2 else None
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
        self, first: Sequence[str], *, stop: Container[str], around: tuple[str, ...]
    ) -> dict[str, Any]:
        """Emits everything from `first` up to `stop`, whose nodes belong to the scope outside."""
        scope = _Scope(stop, around=around)
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
        self.catch(scope)
        return {"StartAt": name, "States": scope.states}

    def enter(
        self,
        scope: _Scope,
        wanted: Sequence[str],
        around: tuple[str, ...],
        *,
        repeated: str = "",
    ) -> tuple[str | None, dict[str, str]]:
        """Names the state that runs `wanted` next, and what must be assigned on the way.

        `repeated` is where the path of the innermost loop around comes from when it is
        not assigned yet. Returns None for the name where the way leaves the scope.
        """
        targets = self.regions.forked(wanted, scope.stop)
        if not targets:
            return None, {}
        common = self._around(targets)
        assign: dict[str, str] = {}
        shared = len(_common(around, common))
        from_ = f"$path_{common[shared - 1]}" if shared else ""
        for depth in range(shared, len(common)):
            first = ".".join(["1"] * (depth - shared + 1))
            path = "{% " + (repeated or from_) + " & '." + first + "' %}"
            assign[f"path_{common[depth]}"] = path if shared else first
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

    def catch(self, scope: _Scope) -> None:
        """Adds what leaves a scope's states early, at the joins that stand beside them."""
        for targets in [targets for targets in scope.placed if len(targets) == 1]:
            region = self.races.get(targets[0])
            if not region:
                continue
            maps = {
                catcher["Next"]: state
                for state in scope.states.values()
                for catcher in state.get("Catch", ())
                if catcher["ErrorEquals"] == [EXCEEDED]
            }
            for name, state in scope.states.items():
                # What asks why an item failed is left for the same joins as the items' Map.
                nodes = nodes_in(self.plan, maps.get(name, state))
                if nodes and nodes <= region:
                    target, assign = self.enter(scope, targets, self.info[name].scope)
                    catch(state, targets[0], str(target), assign)

    # -- states ------------------------------------------------------------------------

    def task(self, scope: _Scope, head: str, name: str) -> None:
        group = self.plan.group(head)
        last, around = self.plan.by_id[group[-1]], self.plan.task_scope(head)
        state = self._task(head, around)
        scope.states[name] = state
        self.info[name] = self._task_info(around, (head,))
        if last.id == END:
            state["Output"] = {}
            state["End"] = True
        elif last.ports == ("",):
            wanted = [link.target for link in self.plan.outgoing[last.id][""]]
            self.follow(scope, state, wanted, around)
        else:
            self.choice(scope, state, last.id, around)

    def choice(
        self, scope: _Scope, task: dict[str, Any], node_id: str, around: tuple[str, ...]
    ) -> None:
        """Emits the Choice behind a Task that decides a port."""
        node = self.plan.by_id[node_id]
        loop = self.plan.loop_of.get(node_id) if around == node.scope else None
        ways: list[tuple[str, str, dict[str, str]]] = []
        back: set[str] = set()
        iterates = node_id in self.plan.iterate_of
        for port in node.ports if loop else deciding_ports(self.plan, node):
            if iterates and port == ITEM:
                continue  # an item begins in the Map, and `done` comes behind it
            target: str | None
            assign: dict[str, str]
            if iterates and port == DONE:
                target, assign = place_map(self, scope, node_id), {}
            elif loop and port == "repeat":
                following = "$states.input.path"
                target, assign = self.enter(scope, loop.entries, around, repeated=following)
                assign = {f"path_{node_id}": "{% " + following + " %}", **assign}
                back.add(str(target))
            else:
                target, assign = self.enter(scope, self.regions.port_targets(node_id, port), around)
            if target is None:
                scope.leave = scope.leave or self.names.take(f"leave after {node_id}")
                # Entered once, whatever loops inside the scope lead to it.
                self.info[scope.leave] = StateInfo("succeed", scope.around)
                target = scope.leave
            ways.append((port, target, assign))
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
        ports = tuple((port, target) for port, target, _ in ways)
        self.info[name] = StateInfo("choice", around, (node_id,), frozenset(back), ports=ports)

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
            and not iterate_behind(self.plan, branch.entries[0])
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
            if len(step) == len(step[0]) == 1:
                state = states_behind(self, step[0][0], state, scope.states)
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
            self.info[name] = self._task_info(around, heads)
            return self._task(heads[0], around)
        tasks = tasks and not any(iterate_behind(self.plan, head) for head in heads)
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
            return self.scope(entries, stop=Outside(first.nodes), around=around)
        names = [self.names.take(unit.name) for unit in chain]
        states: dict[str, Any] = {}
        for unit, name, following in zip(chain, names, [*names[1:], None], strict=True):
            states[name] = self._task(unit.name, around)
            self.info[name] = self._task_info(around, (unit.name,))
            last = states_behind(self, unit, states[name], states)
            last.update({"Next": following} if following else {"End": True})
        return {"StartAt": names[0], "States": states}

    def _map(self, targets: tuple[str, ...], around: tuple[str, ...]) -> dict[str, Any]:
        inner = self.names.take_list("", list(targets))
        task = invoke(self.plan, self.arn, targets[0], around, item=True)
        self.info[inner] = self._task_info(around, targets)
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

    def _task_info(self, around: tuple[str, ...], heads: Sequence[str]) -> StateInfo:
        """Returns what a Task runs: one group, or in a Map one of several."""
        groups = [self.plan.group(head) for head in heads]
        nodes = tuple(node for group in groups for node in group)
        walks = tuple(steps_of(self.plan, self.flow, group) for group in groups if self.flow)
        return StateInfo("task", around, nodes, walks=walks)

    def _task(self, head: str, around: tuple[str, ...]) -> dict[str, Any]:
        return invoke(self.plan, self.arn, head, around)

    def _around(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Returns the loops that are around all of some nodes."""
        common = self.plan.task_scope(targets[0])
        for target in targets[1:]:
            common = _common(common, self.plan.task_scope(target))
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
