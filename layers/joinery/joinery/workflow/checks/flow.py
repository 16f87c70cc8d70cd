"""Checks the graph as a whole: what is reached, what ends, and which cycles are loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from joinery.workflow.bodies import ITEM, analyse_all
from joinery.workflow.checks.bodies import check_bodies, innermost, may_end
from joinery.workflow.checks.edges import RawGraph
from joinery.workflow.graph import END, START, Link, LoopProblem, Structure
from joinery.workflow.report import Collector


def check_flow(graph: RawGraph, out: Collector) -> Structure:
    """Reports what is wrong with the graph as a whole; returns its structure."""
    loops = [node.id for node in graph.nodes.values() if node.type == "loop"]
    iterates = [node.id for node in graph.nodes.values() if node.type == "iterate"]
    starts = [START, *graph.loose_targets]
    structure = analyse_all(graph.names, graph.links, loops, iterates, starts)
    locked = {
        name
        for problem in structure.problems
        if problem.kind == "no_exit"
        for name in problem.nodes
    }
    _check_reach(graph, structure, locked, out)
    _check_ports(graph, structure, out)
    check_bodies(graph, structure, out)
    for problem in structure.problems:
        if problem.kind == "no_exit" or not locked.issuperset(problem.nodes):
            _explain_cycle(problem, graph, out)
    _check_loops(graph, loops, structure, out)
    return structure


def reachable(starts: Iterable[str], next_of: Mapping[str, Sequence[str]]) -> set[str]:
    """Returns everything that can be reached, the starts included."""
    seen = set(starts)
    todo = list(seen)
    while todo:
        for follower in next_of.get(todo.pop(), ()):
            if follower not in seen:
                seen.add(follower)
                todo.append(follower)
    return seen


def neighbours(links: Iterable[Link], *, back: bool = False) -> dict[str, list[str]]:
    """Returns where the links lead from each node, or where they come from."""
    found: dict[str, list[str]] = {}
    for link in links:
        source, target = (link.target, link.source) if back else (link.source, link.target)
        found.setdefault(source, []).append(target)
    return found


# -- reach ------------------------------------------------------------------------------


def _check_reach(graph: RawGraph, structure: Structure, locked: set[str], out: Collector) -> None:
    """Reports nodes that are not reached and, outside locked loops, that do not end."""
    if graph.incomplete:
        return  # an edge that cannot be read may lead anywhere
    onward = neighbours(graph.links)
    if START not in onward and START not in graph.loose_sources:
        first = next(iter(graph.nodes), "first")
        out.add("graph.no_start", "no edge leaves 'start', so nothing runs", "/edges",
                hint=f"add '- start -> {first}'", key=True)  # fmt: skip
    else:
        reached = reachable({START, *graph.loose_targets}, onward)
        entered = {link.target for link in graph.links}
        for name, node in graph.nodes.items():
            if name not in reached:
                what = "by no edge"
                if name in entered:
                    what = "from nodes that are not reached themselves"
                out.add(
                    "graph.unreachable",
                    f"node '{name}' is never reached: it is entered {what}",
                    node.pointer,
                    hint=f"lead an edge to it, such as 'start -> {name}', or remove it",
                    key=True,
                )
    if not any(link.target == END for link in graph.links) and not graph.loose_sources:
        out.add("graph.no_end", "no edge enters 'end', so a run never completes", "/edges",
                hint="lead the last node to it: '- last -> end'", key=True)  # fmt: skip
        return
    items = {name for region in structure.iterates for name in region.body}
    ends = {END, *graph.loose_sources, *items}
    ending = reachable(ends, neighbours(graph.links, back=True))
    for name, node in graph.nodes.items():
        if name not in ending and name not in locked:
            out.add(
                "graph.dead_end",
                f"no way leads from node '{name}' to 'end'",
                node.pointer,
                hint=f"add '{_leaving(graph, name)} -> end'",
                key=True,
            )


def _leaving(graph: RawGraph, name: str) -> str:
    ports = graph.nodes[name].ports or ("",)
    port = "done" if "done" in ports else ports[0]
    return f"{name}.{port}" if port else name


def _check_ports(graph: RawGraph, structure: Structure, out: Collector) -> None:
    """Reports ports that lead nowhere."""
    bodies = innermost(structure)
    used: dict[str, set[str]] = {}
    for link in graph.links:
        used.setdefault(link.source, set()).add(link.port)
    for name, node in graph.nodes.items():
        taken = used.get(name, set())
        ports = node.ports or ()
        named = [port for port in ports if port]
        # Without any edge it is a dead end; with one that names no port, that is the error.
        if not named or not taken or graph.incomplete or not taken <= set(ports):
            continue
        if name in graph.loose_sources:
            continue
        for port in named:
            if port in taken or may_end(bodies, node.type, name, port):
                continue
            must = {"loop": ("repeat", "done"), "iterate": (ITEM,)}.get(node.type or "", ())
            add = out.add if port in must else out.warn
            add(
                "graph.port_unconnected",
                f"the port '{port}' of '{name}' leads nowhere",
                node.pointer,
                hint=f"add '{name}.{port} -> ...'",
                key=True,
            )


# -- cycles -----------------------------------------------------------------------------


def _explain_cycle(problem: LoopProblem, graph: RawGraph, out: Collector) -> None:
    members = set(problem.nodes)
    inside = [e for e in graph.edges if e.link.source in members and e.link.target in members]
    looped = [node for node in problem.nodes if node in graph.nodes and _is_loop(graph, node)]
    if problem.kind == "cycle" and looped and not problem.entries:
        return  # a loop that is not reached: reported as that
    closing = inside[-1]
    path = _cycle_path(closing.link, neighbours(e.link for e in inside))
    shown = " -> ".join([*path, path[0]])
    match problem.kind:
        case "irreducible":
            entries = " and ".join(f"'{name}'" for name in problem.entries)
            message = f"the cycle {shown} is entered at {entries}; a loop begins in one place"
            hint = "lead all edges into the cycle, and the loop's 'repeat', to the same nodes"
        case "no_exit":
            message = f"nothing leads out of the loop {shown}"
            hint = f"lead '{looped[0] if looped else path[0]}.done' to a node after the loop"
        case "shared":
            loops = " and ".join(f"'{name}'" for name in problem.entries)
            message = f"the loops {loops} repeat {shown}, and neither is in the other"
            hint = "lead the ways to one loop node, or 'done' of the inner loop to the outer one"
        case _:
            message = f"the edges go round in a cycle without a loop node: {shown}"
            hint = (
                "only a loop node's port 'repeat' may lead back: "
                f"{closing.link.source} -> again, again.repeat -> {closing.link.target}, "
                "again.done -> end"
            )
    code = "graph.loop_no_exit" if problem.kind == "no_exit" else f"graph.{problem.kind}"
    if problem.kind == "shared":
        code = "graph.loop_shared"
    out.add(code, message, closing.pointer, hint=hint, node_id=path[0])


def _is_loop(graph: RawGraph, name: str) -> bool:
    return graph.nodes[name].type == "loop"


def _cycle_path(closing: Link, onward: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns a shortest way from the closing edge's target back to its source."""
    came: dict[str, str] = {closing.target: ""}
    todo = [closing.target]
    for node in todo:
        if node == closing.source:
            break
        for follower in onward.get(node, ()):
            if follower not in came:
                came[follower] = node
                todo.append(follower)
    path = [closing.source]
    while came.get(path[-1]):
        path.append(came[path[-1]])
    return path[::-1]


def _check_loops(
    graph: RawGraph, loops: Sequence[str], structure: Structure, out: Collector
) -> None:
    """Reports loop nodes whose `repeat` does not lead back."""
    explained = {name for problem in structure.problems for name in problem.nodes}
    for edge in graph.edges:
        link = edge.link
        if link.source not in loops or link.port != "repeat" or link.source in explained:
            continue
        if link not in structure.back_edges:
            out.add(
                "graph.not_a_loop",
                f"'{link.source}.repeat' leads to '{link.target}', "
                f"from which nothing leads back to '{link.source}'",
                edge.pointer,
                hint="lead 'repeat' to the first node of what is repeated, and 'done' onward",
                node_id=link.source,
            )
