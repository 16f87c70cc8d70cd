"""How near a compiled workflow is to the limits of Step Functions, and which node is to blame."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from joinery import limits
from joinery.compiler.emit import Emitted
from joinery.compiler.plan import Plan
from joinery.compiler.states import StateInfo, payload_of
from joinery.compiler.walk import boxes
from joinery.compiler.weights import history_events
from joinery.errors import Problem
from joinery.workflow.graph import END


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is held against a limit."""

    events: Mapping[str, float]
    definition: int
    plan: int

    @staticmethod
    def of(plan: Plan, emitted: Emitted, events: Mapping[str, float]) -> Sizes:
        """Measures a compiled plan whose longest histories have `events`; see `histories`."""
        return Sizes(events, len(emitted.text().encode()), json_bytes(plan.to_dict()))


@dataclass(frozen=True, slots=True)
class Payload:
    """The largest thing that passes through one state: its bytes, and the state's name."""

    bytes: int
    state: str


def near_limits(plan: Plan, emitted: Emitted, sizes: Sizes) -> Iterator[Problem]:
    """Yields an error for each limit that would be passed and a warning for each that is near."""
    for owner, events in sizes.events.items():
        yield from _history(plan, emitted, events, owner)
    yield from _map_runs(plan)
    yield from _definition(plan, emitted, sizes.definition)
    yield from _plan(plan, sizes.plan)
    yield from _payload(plan, emitted)


def json_bytes(value: Any) -> int:
    """Returns the size of a value as compact JSON."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def states_of(plan: Plan, emitted: Emitted) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields every state of a machine by name, those in boxes after the box."""
    todo: list[Mapping[str, Any]] = [emitted.definition]
    while todo:
        for name, state in todo.pop()["States"].items():
            yield name, state
            todo.extend(box for box, _ in boxes(plan, emitted.info[name], state))


# -- history -------------------------------------------------------------------------------


def _history(plan: Plan, emitted: Emitted, events: float, owner: str) -> Iterator[Problem]:
    most = int(limits.SFN_HISTORY_EVENTS * limits.SFN_HISTORY_REFUSE)
    share = f"{events / limits.SFN_HISTORY_EVENTS:.0%} of Step Functions' limit"
    node, why, hint = _most_events(plan, emitted, owner)
    longest = f"the longest item of '{owner}'" if owner else "the longest run"
    if events > most:
        yield Problem(
            "limit.history",
            f"{longest} would make {events:,.0f} history events, {share}, most of them "
            f"{why}; {most:,} is the most",
            hint=hint,
            node_id=node,
            pointer=_pointer(node),
        )
    elif events > limits.SFN_HISTORY_EVENTS * limits.SFN_HISTORY_WARN:
        message = f"{longest} makes {events:,.0f} history events, {share}, most of them {why}"
        yield _warning("limit.history", message, node, hint)


def inline_shares(plan: Plan, emitted: Emitted, owner: str) -> dict[str, float]:
    """Returns the events that the inline items of each iterate node write into a history.

    `owner` is the iterate node whose item has that history, `""` for the run's own.
    """
    inside, _ = _events_inside(plan, emitted, owner)
    return {name: events for name, events in inside.items() if name in plan.iterate_of}


def _events_inside(
    plan: Plan, emitted: Emitted, owner: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the events in a history by the loops and inline items around, and by states."""
    inside: dict[str, float] = {}
    alone: dict[str, float] = {}
    weigh = history_events(plan)
    for name, info in emitted.info.items():
        if _owner(plan, info.scope) != owner:
            continue
        scope = info.scope[info.scope.index(owner) + 1 :] if owner else info.scope
        events = weigh(name, info).max * math.prod(_most_times(plan, each) for each in scope)
        alone[name] = events
        own = info.nodes if info.kind == "iterate" else ()
        for each in (*scope, *(n for n in own if not plan.iterate_of[n].distributed)):
            inside[each] = inside.get(each, 0.0) + events
    return inside, alone


def _owner(plan: Plan, scope: tuple[str, ...]) -> str:
    """Returns the innermost iterate node whose items have histories of their own."""
    apart = (n for n in reversed(scope) if n in plan.iterate_of and plan.iterate_of[n].distributed)
    return next(apart, "")


def _most_events(plan: Plan, emitted: Emitted, owner: str) -> tuple[str | None, str, str]:
    """Returns the loop, or the state, that makes most events, with what to say of it."""
    inside, alone = _events_inside(plan, emitted, owner)
    saved = {each: sum_ * (1 - 1 / _most_times(plan, each)) for each, sum_ in inside.items()}
    if saved:
        each = max(saved, key=lambda name: (saved[name], len(plan.by_id[name].scope)))
        times = _most_times(plan, each)
        if each in plan.iterate_of:
            why = f"for the {times} items of '{each}'"
            return each, why, f"a smaller max_items of '{each}', or fewer nodes inside it"
        why = f"in the {times} rounds of loop '{each}'"
        return each, why, f"fewer rounds of '{each}', or fewer nodes inside it"
    name = max(alone, key=lambda name: alone[name])
    why = f"in {len(alone):,} states, '{name}' alone making {alone[name]:,.0f}"
    return _node_of(plan, emitted.info[name]), why, "split the workflow into several"


def _map_runs(plan: Plan) -> Iterator[Problem]:
    """Yields a warning where items in items open more Map Runs than an account may have."""
    for each in plan.iterates:
        outer = [n for n in plan.by_id[each.iterate].scope if n in plan.iterate_of]
        runs = math.prod(plan.iterate_of[n].at_once for n in outer)
        if each.distributed and runs > limits.SFN_MAP_RUNS_OPEN:
            yield _warning(
                "limit.map_runs",
                f"'{each.iterate}' may run for {runs:,} items around it at once, each a Map Run "
                f"of its own; an account may have {limits.SFN_MAP_RUNS_OPEN:,} open",
                each.iterate,
                f"a smaller concurrency of '{outer[0]}', or {limits.SFN_INLINE_MAP_WIDTH} or "
                f"fewer of '{each.iterate}' at once",
            )


def _most_times(plan: Plan, name: str) -> int:
    """Returns the most rounds of a loop, or items of an iterate node."""
    if name in plan.iterate_of:
        return plan.iterate_of[name].max_items
    return plan.loop_of[name].max_rounds


# -- sizes ---------------------------------------------------------------------------------


def _definition(plan: Plan, emitted: Emitted, size: int) -> Iterator[Problem]:
    most = limits.SFN_DEFINITION_BYTES
    if size <= most * limits.SFN_HISTORY_WARN:
        return
    sizes = {name: json_bytes(state) for name, state in emitted.definition["States"].items()}
    largest = max(sizes, key=lambda name: sizes[name])
    node = _node_of(plan, emitted.info[largest])
    share = (
        f"{len(emitted.info):,} states, of which '{largest}' is the largest with "
        f"{sizes[largest]:,} bytes"
    )
    hint = "shorter ids, fewer nodes, or several workflows"
    if size > most:
        yield Problem(
            "limit.definition",
            f"the state machine would have {size:,} bytes, and Step Functions takes {most:,}: "
            f"{share}",
            hint=hint,
            node_id=node,
            pointer=_pointer(node),
        )
        return
    message = f"the state machine has {size:,} bytes, {size / most:.0%} of the limit: {share}"
    yield _warning("limit.definition", message, node, hint)


def _plan(plan: Plan, size: int) -> Iterator[Problem]:
    most = limits.PLAN_BYTES
    if size <= most * limits.SFN_HISTORY_WARN:
        return
    sizes = {node.id: json_bytes(node.to_dict()) for node in plan.nodes}
    largest = max(sizes, key=lambda name: sizes[name])
    share = f"node '{largest}' with its prompt and persona has {sizes[largest]:,}"
    hint = "shorter prompts and personas: a persona counts with each node that uses it"
    if size > most:
        yield Problem(
            "limit.plan",
            f"the plan would have {size:,} bytes, and every node reads it; {most:,} is the most: "
            f"{share}",
            hint=hint,
            node_id=largest,
            pointer=_pointer(largest),
        )
        return
    message = f"the plan has {size:,} bytes, {size / most:.0%} of the limit: {share}"
    yield _warning("limit.plan", message, largest, hint)


def largest_payload(plan: Plan, emitted: Emitted) -> Payload:
    """Returns the largest input, output or payload that any state can have.

    Results never travel through the machine, so these are ids and paths: the items of a
    Map, what a Task is called with, and the port and path that it answers with.
    """
    deepest = max((len(node.scope) for node in plan.nodes), default=0)
    more = len('"",') + deepest * (len(str(limits.LOOP_ROUNDS_MAX)) + 1)
    best = Payload(0, "")
    for name, state in states_of(plan, emitted):
        info = emitted.info[name]
        if info.kind == "iterate":
            size = more * plan.iterate_of[info.nodes[0]].max_items
        else:
            size = _ADDRESS_BYTES + more
            task = state["Type"] == "Task"
            size += json_bytes(payload_of(state) if task else state.get("Items", ""))
        if size > best.bytes:
            best = Payload(size, name)
    return best


_ADDRESS_BYTES = 120
"""What replaces the expressions in a payload: a run's id, a plan's, a port of 64 characters."""


def _payload(plan: Plan, emitted: Emitted) -> Iterator[Problem]:
    largest = largest_payload(plan, emitted)
    most = limits.SFN_PAYLOAD_BYTES
    if largest.bytes <= most * limits.SFN_HISTORY_WARN:
        return
    node = _node_of(plan, emitted.info[largest.state])
    message = (
        f"the state '{largest.state}' may carry {largest.bytes:,} bytes, "
        f"{largest.bytes / most:.0%} of the limit"
    )
    if largest.bytes > most:
        yield Problem("limit.payload", message, hint="a narrower fork", node_id=node,
                      pointer=_pointer(node))  # fmt: skip
        return
    yield _warning("limit.payload", message, node, "a narrower fork")


def _node_of(plan: Plan, info: StateInfo) -> str | None:
    nodes = [name for name in info.nodes if name != END]
    return nodes[0] if nodes else None


def _warning(code: str, message: str, node: str | None, hint: str) -> Problem:
    return Problem(
        code, message, hint=hint, severity="warning", node_id=node, pointer=_pointer(node)
    )


def _pointer(node: str | None) -> str:
    return f"/nodes/{node}" if node else "/nodes"
