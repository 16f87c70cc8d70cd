"""Which states a machine enters, foretold from what the nodes of a run decided.

Walks the definition as Step Functions does, with each Task answered by the record of
its node. Nothing is counted twice here that `joinery plan` counts: what a run really
took is compared with this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from joinery import limits
from joinery.compiler.distributed import CHILD_PATH, EXCEEDED, is_distributed
from joinery.compiler.emit import Emitted
from joinery.compiler.plan import Plan
from joinery.compiler.states import payload_of
from joinery.compiler.weights import history_events
from joinery.workflow.graph import END, START


class _Key(Protocol):
    @property
    def path(self) -> str:
        """Loop rounds and item indexes."""
        ...


class Decided(Protocol):
    """What a record says of a node; `runs.model.NodeRecord` is one."""

    @property
    def node_id(self) -> str:
        """The node."""
        ...

    @property
    def key(self) -> _Key:
        """Where in the run it is."""
        ...

    @property
    def status(self) -> str:
        """How far it is."""
        ...

    @property
    def port(self) -> str:
        """The port it took."""
        ...

    @property
    def next_path(self) -> str:
        """Of a loop that repeats, the path of the next round."""
        ...

    @property
    def items(self) -> int | None:
        """Of an iterate node that ended well, how many items it has."""
        ...

    @property
    def handled(self) -> bool:
        """Whether a failure was dealt with, so that the run goes on."""
        ...


def transitions_of(plan: Plan, emitted: Emitted, records: Iterable[Decided]) -> int:
    """Returns how many state transitions a run takes, or has taken so far, without retries.

    Args:
        plan: The plan that the run is pinned to.
        emitted: Its machine.
        records: All node records of the run.
    """
    walk = _walked(plan, emitted, records)
    return len(walk.entered) + len(walk.apart) + walk.started * limits.SFN_TRANSITIONS_CHILD_START


def history_events_of(plan: Plan, emitted: Emitted, records: Iterable[Decided]) -> int:
    """Returns how many events the history of a run's execution has at most, without retries.

    What items write into histories of their own is not in it.
    """
    walk = _walked(plan, emitted, records)
    weigh = history_events(plan)
    events = sum(weigh(name, emitted.info[name]).min for name in walk.entered)
    return int(events) + limits.SFN_EVENTS_MAP_ITEM * walk.items


def states_of_run(plan: Plan, emitted: Emitted, records: Iterable[Decided]) -> list[str]:
    """Returns the states that a run enters, each as often as it does; see `transitions_of`."""
    walk = _walked(plan, emitted, records)
    return [*walk.entered, *walk.apart]


def _walked(plan: Plan, emitted: Emitted, records: Iterable[Decided]) -> _Walk:
    walk = _Walk(plan, {(record.node_id, record.key.path): record for record in records})
    walk.scope(emitted.definition, {}, "")
    return walk


_EXPRESSION: Final = re.compile(r"\{% (.*) %\}")
_PORT: Final = re.compile(r"\$states\.input\.port = '(\w*)'")
_GOES_ON: Final = frozenset({"completed", "skipped"})

_Variables = Mapping[str, str]


@dataclass(slots=True)
class _Walk:
    plan: Plan
    records: Mapping[tuple[str, str], Decided]
    entered: list[str] = field(default_factory=list)
    items: int = 0
    """Items of inline Maps in the run's own history, all together."""
    apart: list[str] = field(default_factory=list)
    """States entered in executions of items."""
    started: int = 0
    """Executions of items."""
    depth: int = 0
    """How many executions of items are around."""
    begun: set[str] = field(default_factory=set)
    failed: bool = False
    """Whether a node was found that has failed its run."""

    def scope(self, scope: Mapping[str, Any], outer: _Variables, item: str) -> bool:
        """Walks a `States` map; returns whether its end was reached.

        Args:
            scope: The machine, a branch, or the body of a Map.
            outer: The variables that it sees; what it assigns stays inside.
            item: The item of the Map around it, which its first Task reads.
        """
        variables = dict(outer)
        answer: Mapping[str, str] = {"port": "", "path": ""}
        name: str | None = scope["StartAt"]
        while name is not None:
            state = scope["States"][name]
            (self.apart if self.depth else self.entered).append(name)
            assign, following = state.get("Assign", {}), state.get("Next")
            if state["Type"] == "Task":
                ended = self._task(state, variables, item)
                if ended is None:
                    return False
                answer = ended
            elif state["Type"] == "Choice":
                row = _row(state, answer["port"])
                assign, following = row.get("Assign", {}), row["Next"]
            elif not self._boxes(state, variables, answer):
                return False
            # Only the first state of an item's body reads its whole input: the item's path.
            given = {**answer, "": item}
            variables.update({key: _value(text, variables, given) for key, text in assign.items()})
            name = following
        return True

    def _boxes(
        self, state: Mapping[str, Any], variables: _Variables, answer: Mapping[str, str]
    ) -> bool:
        """Walks what is inside a state; returns whether all of it ended."""
        inside: Sequence[tuple[Mapping[str, Any], str]] = [
            (branch, "") for branch in state.get("Branches", ())
        ]
        if state["Type"] == "Map":
            items = state["Items"]
            if isinstance(items, str):
                items = answer["items"].split()
                if is_distributed(state):
                    return self._apart(state, items)
                self.items += 0 if self.depth else len(items)
            inside = [(state["ItemProcessor"], item) for item in items]
        ended = True
        for scope, item in inside:
            # The others are walked although one has not ended.
            ended = self.scope(scope, variables, item) and ended
        return ended

    def _apart(self, state: Mapping[str, Any], items: Iterable[str]) -> bool:
        """Walks the executions of items; returns whether all of them ended."""
        begun = self._begun()
        ended, failed, self.failed = True, self.failed, False
        for item in items:
            if item not in begun:
                ended = False  # perhaps not started, when the run failed or goes on
                continue
            self.started += 1
            self.depth += 1
            ended = self.scope(state["ItemProcessor"], {}, item) and ended
            self.depth -= 1
        if self.failed:
            (why,) = (c["Next"] for c in state["Catch"] if c["ErrorEquals"] == [EXCEEDED])
            (self.apart if self.depth else self.entered).append(why)
        self.failed = self.failed or failed
        return ended

    def _begun(self) -> set[str]:
        """Returns the paths at or under which there are records."""
        if not self.begun:
            for _, path in self.records:
                parts = path.split(".")
                self.begun.update(".".join(parts[:length]) for length in range(1, len(parts) + 1))
        return self.begun

    def _task(
        self, state: Mapping[str, Any], variables: _Variables, item: str
    ) -> Mapping[str, str] | None:
        """Returns what a Task answers; None when it has not, or has failed the run."""
        payload = payload_of(state)
        head = _value(payload["node"], variables, {"": item})
        path = _value(payload["path"], variables, {"": item})
        last = END if head == START else self.plan.group(head)[-1]
        if last == END:
            return {"port": "", "path": ""}
        record = self._last(last, path)
        if record is None:
            return None
        if record.status not in _GOES_ON and not (record.status == "failed" and record.handled):
            self.failed = self.failed or record.status == "failed"
            return None
        prefix = f"{path}." if path else ""
        items = " ".join(f"{prefix}{index}" for index in range(record.items or 0))
        return {"port": record.port, "path": record.next_path, "items": items}

    def _last(self, node: str, path: str) -> Decided | None:
        """Returns the record of a Task's last node; of a loop run whole the last round's."""
        if len(self.plan.task_scope(node)) == len(self.plan.by_id[node].scope):
            return self.records.get((node, path))
        inside = f"{path}." if path else ""
        paths = [p for name, p in self.records if name == node and p.startswith(inside)]
        if not paths:
            return None
        return self.records[node, max(paths, key=lambda p: [int(part) for part in p.split(".")])]


def _row(choice: Mapping[str, Any], port: str) -> Mapping[str, Any]:
    """Returns the way out of a Choice that a port takes."""
    for row in choice["Choices"]:
        condition = _EXPRESSION.fullmatch(row["Condition"])
        wanted = _PORT.fullmatch(condition[1]) if condition else None
        if wanted and wanted[1] == port:
            found: Mapping[str, Any] = row
            return found
    return {"Next": choice["Default"], "Assign": choice.get("Assign", {})}


def _value(text: str, variables: _Variables, answer: Mapping[str, str]) -> str:
    """Returns the value of one of the expressions that the compiler writes."""
    expression = _EXPRESSION.fullmatch(text)
    if expression is None:
        return text
    return "".join(_term(term, variables, answer) for term in expression[1].split(" & "))


def _term(term: str, variables: _Variables, answer: Mapping[str, str]) -> str:
    if term.startswith("'"):
        return term.strip("'")
    if term == CHILD_PATH:
        return answer[""]
    if term.startswith("$states.input"):
        return answer[term.removeprefix("$states.input").lstrip(".")]
    return variables[term.removeprefix("$")]
