"""Graphs of any size that the benchmarks compile."""

from __future__ import annotations

import json
from collections.abc import Callable

File = dict[str, object]
"""A workflow file as data."""


def node(kind: str, salt: str, *reads: str) -> dict[str, object]:
    """Returns a node whose text uses the results of `reads`; `salt` keeps caches from helping."""
    text = " ".join([salt, *(f"{{{{ nodes.{name}.text }}}}" for name in reads)])
    return {"type": kind, "template" if kind == "template" else "prompt": text}


def chain(size: int, salt: str, kind: str = "llm") -> File:
    """Returns a chain; each node reads the one before it."""
    names = [f"n{i}" for i in range(size)]
    nodes = {
        name: node(kind, f"{salt} {name}", *names[max(i - 1, 0) : i])
        for i, name in enumerate(names)
    }
    return _file(nodes, list(zip(["start", *names], [*names, "end"], strict=True)))


def folded(size: int, salt: str) -> File:
    """Returns a chain of templates, which level 1 folds into one Task."""
    return chain(size, salt, "template")


def fan(size: int, salt: str) -> File:
    """Returns one fork of `size` branches."""
    names = [f"n{i}" for i in range(size)]
    nodes = {name: node("llm", f"{salt} {name}") for name in names}
    return _file(nodes, [(a, b) for name in names for a, b in (("start", name), (name, "end"))])


def wide(size: int, salt: str) -> File:
    """Returns two layers of half the size, joined completely through one node."""
    return _layers([size // 2, size - size // 2 - 1], salt)


def deep(size: int, salt: str) -> File:
    """Returns layers of two nodes, joined completely through a node between each two."""
    return _layers([2] * (size // 3), salt)


def crossed(size: int, salt: str) -> File:
    """Returns layers of two nodes, each node after both of the layer before: one rigid region."""
    layers = [[f"l{layer}_{i}" for i in range(2)] for layer in range(size // 2)]
    nodes: dict[str, dict[str, object]] = {}
    edges: list[tuple[str, str]] = []
    for before, names in zip([["start"], *layers], [*layers, ["end"]], strict=True):
        edges += [(source, target) for source in before for target in names]
        if names != ["end"]:
            read = [] if before == ["start"] else before
            nodes |= {name: node("llm", f"{salt} {name}", *read) for name in names}
    return _file(nodes, edges)


SHAPES: dict[str, Callable[[int, str], File]] = {
    "chain": chain,
    "chain, folded": folded,
    "fan": fan,
    "2 layers of n/2": wide,
    "n/3 layers of 2": deep,
    "n/2 crossed": crossed,
}


def _layers(widths: list[int], salt: str) -> File:
    nodes: dict[str, dict[str, object]] = {}
    edges: list[tuple[str, str]] = []
    before = "start"
    for layer, width in enumerate(widths):
        names = [f"l{layer}_{i}" for i in range(width)]
        read = [] if before == "start" else [before]
        nodes |= {name: node("llm", f"{salt} {name}", *read) for name in names}
        last = layer == len(widths) - 1
        after = "end" if last else f"join{layer}"
        if not last:
            nodes[after] = node("template", f"{salt} {after}", *names)
        edges += [(before, name) for name in names] + [(name, after) for name in names]
        before = after
    return _file(nodes, edges)


def _file(nodes: dict[str, dict[str, object]], edges: list[tuple[str, str]]) -> File:
    return {
        "version": 1,
        "name": "bench",
        "nodes": nodes,
        "edges": [f"{source} -> {target}" for source, target in edges],
    }


def yaml_of(file: File) -> str:
    """Returns the file as a person writes it: block style, a line for each node and edge."""
    lines: list[str] = []
    for key, value in file.items():
        if isinstance(value, dict):
            lines.append(f"{key}:")
            for name, spec in value.items():
                lines.append(f"  {name}:")
                lines += [f"    {field}: {json.dumps(said)}" for field, said in spec.items()]
        elif isinstance(value, list):
            lines += [f"{key}:", *(f"  - {json.dumps(item)}" for item in value)]
        else:
            lines.append(f"{key}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"
