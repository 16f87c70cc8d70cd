"""Reads nodes and edges from the raw data, and checks every edge by itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from joinery.workflow import model as m
from joinery.workflow.graph import END, START, Link
from joinery.workflow.report import Collector, closest, did_you_mean
from joinery.workflow.yaml_tree import escape_pointer

EDGES_MAX: Final = 20_000
"""Most edges; ten for each node of the largest workflow."""

_PORT_USED: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\.([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class RawNode:
    """What is known of a node, whether or not the rest of it is valid.

    Attributes:
        id: Its id.
        type: Its type when that is one that runs, else None.
        ports: The ports it may take; None when its type is not known.
        data: Its data.
    """

    id: str
    type: str | None
    ports: tuple[str, ...] | None
    data: Mapping[str, Any]

    @property
    def pointer(self) -> str:
        """Where it stands."""
        return f"/nodes/{escape_pointer(self.id)}"

    @property
    def on_error(self) -> Any:
        """What happens when it fails."""
        return self.data.get("on_error", "fail")

    @property
    def waits_for_all(self) -> bool:
        """Whether it runs only when all its parents have ended."""
        return bool(self.data.get("join", "all") == "all")


@dataclass(frozen=True, slots=True)
class RawEdge:
    """An edge between nodes that exist, and where it stands."""

    link: Link
    pointer: str


@dataclass(slots=True)
class RawGraph:
    """The graph as far as it can be read.

    Attributes:
        nodes: All nodes by id, in the order of the file.
        edges: All usable edges in the order of the file.
        incomplete: Whether an edge could not be read at all.
        loose_targets: Nodes that an edge from an unknown node enters.
        loose_sources: Nodes that an edge leaves for an unknown node.
    """

    nodes: dict[str, RawNode] = field(default_factory=dict)
    edges: list[RawEdge] = field(default_factory=list)
    incomplete: bool = False
    loose_targets: set[str] = field(default_factory=set)
    loose_sources: set[str] = field(default_factory=set)

    @property
    def names(self) -> list[str]:
        """All node ids with `start` first and `end` last."""
        return [START, *self.nodes, END]

    @property
    def links(self) -> list[Link]:
        """All usable edges without their places."""
        return [edge.link for edge in self.edges]


def read_graph(data: Mapping[str, Any], out: Collector) -> RawGraph:
    """Reads the graph, reporting what is wrong with single nodes' ids and single edges."""
    graph = RawGraph()
    nodes, edges = data.get("nodes"), data.get("edges")
    asked = _leave_by_name(edges)
    if isinstance(nodes, dict):
        for name, node in nodes.items():
            if name in m.RESERVED_IDS:
                out.add(
                    "node.bad_id",
                    f"'{name}' is there by itself in every workflow",
                    f"/nodes/{name}",
                    hint="give the node another id",
                    key=True,
                )
                continue
            graph.nodes[name] = _raw_node(name, node, asked)
    reader = _EdgeReader(graph, out)
    if isinstance(edges, list):
        for index, edge in enumerate(edges):
            reader.read(edge, f"/edges/{index}")
    else:
        graph.incomplete = True
    return graph


def _leave_by_name(edges: Any) -> set[str]:
    """Returns the nodes that an edge leaves by a port with a name, `error` not counted."""
    found: set[str] = set()
    for edge in edges if isinstance(edges, list) else ():
        if isinstance(edge, str):
            found.update(name for name, port in _PORT_USED.findall(edge) if port != "error")
        elif isinstance(edge, dict) and edge.get("port") not in (None, "error"):
            found.add(str(edge.get("from")))
    return found


def _raw_node(name: str, node: Any, asked: Collection[str]) -> RawNode:
    data: Mapping[str, Any] = node if isinstance(node, dict) else {}
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in m.NODE_TYPES:
        return RawNode(name, None, None, data)
    ports: tuple[str, ...] = ("",)
    if kind == "condition":
        ports = ("true", "false")
    elif kind == "loop":
        ports = ("repeat", "done")
    elif kind == "iterate":
        ports = ("item", "done")
    elif kind == "switch":
        cases = data.get("cases")
        named = tuple(cases) if isinstance(cases, dict) else ()
        ports = tuple(dict.fromkeys((*named, "default")))
    elif kind == "question" and name in asked:
        options = data.get("options")
        named = tuple(options) if isinstance(options, list | dict) else ()
        ports = tuple(dict.fromkeys(one for one in named if isinstance(one, str))) or ("",)
    if data.get("on_error") == "route":
        ports = (*ports, "error")
    return RawNode(name, kind, ports, data)


class _EdgeReader:
    def __init__(self, graph: RawGraph, out: Collector) -> None:
        self.graph = graph
        self.out = out
        self.seen: dict[tuple[str, str, str], str] = {}

    def read(self, edge: Any, pointer: str) -> None:
        if isinstance(edge, str):
            self._read_text(edge, pointer)
        elif isinstance(edge, dict):
            source, target = edge.get("from"), edge.get("to")
            port, when = edge.get("port"), edge.get("when")
            if isinstance(port, bool):  # `port: true` without quotes, reported as a type
                port = str(port).lower()
            if isinstance(source, str) and isinstance(target, str):
                text = port if isinstance(port, str) else None
                self._take(source, text, target, when, pointer)
            else:
                self.graph.incomplete = True
        else:
            self.graph.incomplete = True  # reported as a type

    def _read_text(self, text: str, pointer: str) -> None:
        sides = [side.count(",") + 1 for side in text.split("->")]
        pairs = sum(left * right for left, right in pairwise(sides))
        if len(self.graph.edges) + pairs > EDGES_MAX:
            self.graph.incomplete = True
            self.out.add("limit.edges", f"more than {EDGES_MAX:,} edges", pointer)
            return
        try:
            edges = m.parse_edge(text)
        except ValueError as error:
            self.graph.incomplete = True
            self.out.add(
                "edge.syntax",
                f"'{text[:80]}' is not an edge: {str(error)[:200]}",
                pointer,
                hint="write 'a -> b', 'a.port -> b', 'a, b -> c, d' or 'a -> b -> c'",
            )
            return
        for edge in edges:
            self._take(edge.from_, edge.port, edge.to, None, pointer)

    def _take(self, source: str, port: str | None, target: str, when: Any, pointer: str) -> None:
        wrong = False
        if source == END:
            wrong = True
            self.out.add("edge.out_of_end", "an edge leaves 'end'", pointer,
                         hint="'end' is the last; swap the sides or name another node")  # fmt: skip
        if target == START:
            wrong = True
            self.out.add(
                "edge.into_start",
                "an edge enters 'start'",
                pointer,
                hint="to repeat, add a loop node and lead its port 'repeat' to a node",
            )
        known_source = self._known(source, pointer, wrong or source == END)
        known_target = self._known(target, pointer, wrong or target == START)
        if known_source is None and known_target is not None:
            self.graph.loose_targets.add(known_target)
        if known_target is None and known_source is not None:
            self.graph.loose_sources.add(known_source)
        if wrong or known_source is None or known_target is None:
            return
        known_port = self._port(known_source, port, pointer)
        key = (known_source, known_port, known_target)
        guessed = (known_source, known_target) != (source, target)
        if key in self.seen and not guessed:
            shown = f"{known_source}{'.' if known_port else ''}{known_port} -> {known_target}"
            self.out.add(
                "edge.duplicate",
                f"the edge {shown} stands here a second time",
                pointer,
                hint=f"it is on line {self.out.source.place(self.seen[key])[0]} already",
                node_id=known_source,
            )
            return
        if not guessed:
            self.seen[key] = pointer
        guard = when if isinstance(when, str) else None
        self.graph.edges.append(RawEdge(Link(*key[:2], known_target, guard), pointer))

    def _known(self, name: str, pointer: str, silent: bool) -> str | None:
        """Returns the node that is meant, reporting one that does not exist."""
        if name in self.graph.nodes or name in (START, END):
            return name
        close = closest(name, self.graph.names)
        if not silent:
            hint = did_you_mean(name, self.graph.names)
            head, _, tail = name.partition(".")
            if tail and head in self.graph.nodes:
                close, hint = head, f"write 'from: {head}' and 'port: \"{tail}\"'"
            self.out.add("edge.dangling", f"there is no node '{name}'", pointer, hint=hint)
        return close

    def _port(self, source: str, port: str | None, pointer: str) -> str:
        """Returns the port that is meant, reporting one that does not exist."""
        ports = ("",) if source == START else self.graph.nodes[source].ports
        if ports is None:
            return port or ""
        if port is None:
            if "" in ports:
                return ""
            self.out.add(
                "edge.missing_port",
                f"the edge leaves '{source}' without saying by which port",
                pointer,
                hint=f"write '{source}.{ports[0]} -> ...'; ports: {', '.join(ports)}",
                node_id=source,
            )
            return ""
        if port in ports:
            return port
        named = [one for one in ports if one]
        if named:
            message, hint = f"'{source}' has no port '{port}'", did_you_mean(port, named)
        else:
            message, hint = f"'{source}' has no ports", f"write '{source} -> ...'"
            if port == "error":
                hint = "add 'on_error: route' to the node"
        self.out.add("edge.unknown_port", message, pointer, hint=hint, node_id=source)
        return closest(port, named) or ""
