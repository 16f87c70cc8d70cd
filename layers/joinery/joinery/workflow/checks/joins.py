"""Finds joins that can never fire and nodes that can never run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from joinery.workflow.checks.edges import RawGraph, RawNode
from joinery.workflow.checks.flow import neighbours, reachable
from joinery.workflow.graph import START, Link, Structure
from joinery.workflow.report import Collector

_CONSTANT: Final = re.compile(r"\s*\{\{\s*(true|false)\s*\}\}\s*")


def check_joins(graph: RawGraph, structure: Structure, out: Collector) -> None:
    """Reports joins that ask for more parents than can ever have finished."""
    needs = _ports_needed(graph, structure)
    sources: dict[str, list[str]] = {}
    for link in graph.links:
        if link not in structure.back_edges:
            sources.setdefault(link.target, []).append(link.source)
    for node in graph.nodes.values():
        wanted = _at_least(node)
        parents = list(dict.fromkeys(sources.get(node.id, ())))
        if wanted is None or not parents or graph.incomplete:
            continue
        together = _together(parents, needs)
        if wanted <= together:
            continue
        count = "1 node leads to it" if len(parents) == 1 else f"{len(parents)} nodes lead to it"
        if together < len(parents):
            count += f", of which at most {together} can run, since the others exclude each other"
        out.add(
            "graph.join_never",
            f"node '{node.id}' waits for {wanted} parents and never runs: {count}",
            f"{node.pointer}/join",
            hint=f"write 'join: {{at_least: {together}}}', or 'join: all'",
        )


def _at_least(node: RawNode) -> int | None:
    join = node.data.get("join")
    wanted = join.get("at_least") if isinstance(join, dict) else None
    return wanted if isinstance(wanted, int) and not isinstance(wanted, bool) else None


def _ports_needed(graph: RawGraph, structure: Structure) -> dict[str, dict[str, str]]:
    """Returns, for each node, the ports that every way to it takes: `{decision: port}`."""
    incoming: dict[str, list[Link]] = {}
    for link in graph.links:
        if link not in structure.back_edges:
            incoming.setdefault(link.target, []).append(link)
    needs: dict[str, dict[str, str]] = {START: {}}
    for name in structure.order:
        shared: dict[str, str] | None = None
        for link in incoming.get(name, ()):
            if link.source not in needs:
                continue  # on a cycle that is no loop, reported as that
            way = needs[link.source]
            if link.port and len(_ports(graph, link.source)) > 1:
                way = {**way, link.source: link.port}
            if shared is None:
                shared = way
            else:
                shared = {node: port for node, port in shared.items() if way.get(node) == port}
        needs[name] = shared or {}
    return needs


def _ports(graph: RawGraph, name: str) -> tuple[str, ...]:
    return () if name == START else graph.nodes[name].ports or ()


def _together(parents: Sequence[str], needs: Mapping[str, Mapping[str, str]]) -> int:
    """Returns how many of some nodes can run in one run, as far as ports tell."""
    groups: list[list[Mapping[str, str]]] = []
    for parent in parents:
        own = needs[parent]
        for group in groups:
            if all(_exclude(own, other) for other in group):
                group.append(own)
                break
        else:
            groups.append([own])
    return len(groups)


def _exclude(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    return any(node in b and b[node] != port for node, port in a.items())


# -- conditions that are no question ----------------------------------------------------------


def check_constants(graph: RawGraph, out: Collector) -> None:
    """Warns of nodes to which every way leads through a condition that never holds."""
    why = {(node.id, port): text for node in graph.nodes.values() for port, text in _never(node)}
    dead: dict[Link, str] = {}
    for link in graph.links:
        if _constant(link.when) is False:
            dead[link] = f"'when' of the edge from '{link.source}' never holds"
        elif (link.source, link.port) in why:
            dead[link] = why[link.source, link.port]
    if not dead or graph.incomplete:
        return
    onward = neighbours(graph.links)
    runs = reachable(
        {START, *graph.loose_targets}, neighbours(link for link in graph.links if link not in dead)
    )
    lost = reachable({START, *graph.loose_targets}, onward) - runs
    told: set[str] = set()
    for link, reason in dead.items():
        if link.target not in lost or link.target in told or link.target not in graph.nodes:
            continue
        told.add(link.target)
        more = len(reachable({link.target}, onward) & lost) - 1
        others = f", nor {more} node{'' if more == 1 else 's'} behind it" if more else ""
        out.warn(
            "graph.never_runs",
            f"node '{link.target}' never runs{others}: {reason}",
            graph.nodes[link.target].pointer,
            hint="remove it, or let the condition depend on something",
            key=True,
        )


def _never(node: RawNode) -> Iterator[tuple[str, str]]:
    """Yields the ports that a node never takes, with the reason."""
    if node.type == "condition":
        value = _constant(node.data.get("if"))
        if value is not None:
            port, said = ("false", "true") if value else ("true", "false")
            yield port, f"the condition '{node.id}' is always {said}"
    cases = node.data.get("cases")
    if node.type == "switch" and isinstance(cases, dict):
        yield from _never_cases(node, cases)


def _never_cases(node: RawNode, cases: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    always = ""
    for port, case in cases.items():
        if always:
            yield port, f"the case '{always}' of '{node.id}' before it always holds"
        elif node.data.get("value") is None:
            holds = _constant(case)
            if holds is False:
                yield port, f"the case '{port}' of '{node.id}' never holds"
            always = port if holds else ""
        elif not isinstance(case, dict):
            values = [repr(one) for one in (case if isinstance(case, list) else [case])]
            earlier = [seen[value] for value in values if value in seen]
            if values and len(earlier) == len(values):
                yield port, f"the case '{earlier[0]}' of '{node.id}' takes all its values before it"
            for value in values:
                seen.setdefault(value, port)
    if always:
        yield "default", f"the case '{always}' of '{node.id}' always holds"


def _constant(text: Any) -> bool | None:
    """Returns the value of a condition that is one word, None of any other."""
    found = _CONSTANT.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else found[1] == "true"
