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
from joinery.compiler.names import Names
from joinery.compiler.plan import PURE_TYPES, Plan
from joinery.compiler.regions import Regions
from joinery.errors import transient_names
from joinery.workflow.graph import END, START

RUN_NODE_PLACEHOLDER = "${RunNodeArn}"
"""Stands for the function in a definition that is not yet published."""

INFRASTRUCTURE_ERRORS = (
    # What Lambda and its worker raise when the node's own code had no say in it.
    # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.Unknown",
    "Sandbox.Timedout",
    "States.Timeout",
)

CLAIM_RETRIES = 12
"""Waits for another invocation's claim: 2 s growing to 10 s, well past the longest lease."""


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

    stop: str | None
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
        body = self.scope(first, stop=None, around=())
        comment = (
            f"{self.plan.name} | graph sha256:{self.plan.graph_hash[:16]}"
            f" | joinery {self.plan.compiler} -O{self.plan.opt}"
        )
        return Emitted({"Comment": comment, "QueryLanguage": "JSONata", **body}, self.info)

    # -- scopes and transitions --------------------------------------------------------

    def scope(
        self, first: Sequence[str], *, stop: str | None, around: tuple[str, ...]
    ) -> dict[str, Any]:
        """Emits everything from `first` up to `stop`, which belongs to the scope outside."""
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
        common = self.plan.by_id[targets[0]].scope
        for target in targets[1:]:
            common = _common(common, self.plan.by_id[target].scope)
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
            if scope.stop is not None:
                state["Output"] = {}
        else:
            state["Next"] = name

    # -- states ------------------------------------------------------------------------

    def task(self, scope: _Scope, head: str, name: str) -> None:
        group = self.plan.group(head)
        last = self.plan.by_id[group[-1]]
        state = self._invoke("'" + head + "'", group, last.scope, literal=head)
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
                scope.leave = scope.leave or self.names.take(f"leave before {scope.stop}")
                self.info[scope.leave] = StateInfo("succeed", node.scope)
                target = scope.leave
            ways.append((port, target, assign))
        task["Output"] = "{% $states.result.Payload %}"
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
        around = self.plan.by_id[targets[0]].scope
        for target in targets[1:]:
            around = _common(around, self.plan.by_id[target].scope)
        branches = self.regions.branches(targets, join)
        alike = {self._likeness(target) for target in targets}
        plain = all(
            set(self.plan.group(branch.entries[0])) == branch.nodes
            and self.plan.by_id[self.plan.group(branch.entries[0])[-1]].ports == ("",)
            for branch in branches
        )
        state: dict[str, Any]
        if plain and len(alike) == 1 and len(targets) <= limits.SFN_INLINE_MAP_WIDTH:
            state = self._map(targets, around)
            kind = "map"
        else:
            state = {
                "Type": "Parallel",
                "Branches": [
                    self.scope(branch.entries, stop=join, around=around) for branch in branches
                ],
            }
            kind = "parallel"
        scope.states[name] = state
        self.info[name] = StateInfo(kind, around, targets)
        state["Output"] = {}
        self.follow(scope, state, [join], around)

    def _map(self, targets: tuple[str, ...], around: tuple[str, ...]) -> dict[str, Any]:
        inner = self.names.take_list("", list(targets))
        every = tuple(node for target in targets for node in self.plan.group(target))
        task = self._invoke("$states.input", self.plan.group(targets[0]), around)
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
        }

    def _likeness(self, head: str) -> tuple[Any, ...]:
        """What must be equal for branches to share one Task state."""
        group = self.plan.group(head)
        return (
            self.plan.by_id[head].scope,
            _attempts(self.plan, group),
            self.plan.by_id[head].backoff_s,
            _timeout(self.plan, group),
        )

    def _invoke(
        self,
        node: str,
        group: tuple[str, ...],
        scope: tuple[str, ...],
        literal: str | None = None,
    ) -> dict[str, Any]:
        """Returns the Task that runs a group; `node` is the expression of its first node."""
        path = "{% $path_" + scope[-1] + " %}" if scope else ""
        state: dict[str, Any] = {"Type": "Task"}
        if len(group) > 1 and literal:
            state["Comment"] = "runs " + ", ".join(group)
        state.update(
            {
                "Resource": "arn:aws:states:::lambda:invoke",
                "Arguments": {
                    "FunctionName": self.arn,
                    "Payload": {
                        "run_id": "{% $states.context.Execution.Input.run_id %}",
                        "plan": "{% $states.context.Execution.Input.plan %}",
                        "node": literal if literal else "{% " + node + " %}",
                        "path": path,
                    },
                },
                "TimeoutSeconds": _timeout(self.plan, group),
                "Retry": _retry(self.plan, group),
                "Output": {},
            }
        )
        return state


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    return a[:length]


def _attempts(plan: Plan, group: tuple[str, ...]) -> int:
    return max(plan.by_id[name].attempts for name in group)


def _timeout(plan: Plan, group: tuple[str, ...]) -> int:
    """Seconds after which Step Functions gives an invocation up: the nodes' own, and a margin."""
    nodes = [plan.by_id[name] for name in group]
    # A pure node is done at once; its own timeout is only its bound inside the invocation.
    total = sum(node.timeout_s for node in nodes if node.type not in PURE_TYPES) + 30
    return int(min(total, limits.LAMBDA_TIMEOUT_S))


def _retry(plan: Plan, group: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns the Retriers of a Task.

    Attempts are counted in the table, where a crash counts too; the bounds here
    only have to be wider, and end what can no longer even be counted.
    """
    names = [name for name in transient_names() if name != "TransientClaimed"]
    backoff = max(1, round(min(plan.by_id[name].backoff_s for name in group)))
    return [
        {
            "ErrorEquals": ["TransientClaimed"],
            "IntervalSeconds": 2,
            "BackoffRate": 1.5,
            "MaxDelaySeconds": 10,
            "MaxAttempts": CLAIM_RETRIES,
            "JitterStrategy": "FULL",
        },
        {
            "ErrorEquals": [*names, *INFRASTRUCTURE_ERRORS],
            "IntervalSeconds": backoff,
            "BackoffRate": 2.0,
            "MaxDelaySeconds": max(30, backoff + 1),
            "MaxAttempts": _attempts(plan, group) + 2,
            "JitterStrategy": "FULL",
        },
    ]
