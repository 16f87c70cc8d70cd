"""Compile time by size of the graph, alone and with reading and validating the file before it.

`growth` is the factor for twice the nodes, found from two neighbouring sizes: 2.0 is
linear, 4.0 quadratic. What compiles past a limit of Step Functions is refused as the
compiler's last step, so its time counts like any other; the row says so. Validation leaves
the last texts it parsed in a cache, which holds all of a small graph and nothing of use in a
large one; it is filled with other texts before compiling, so that all sizes pay the same.
"""

from __future__ import annotations

import gc
import math
import time

from bench.graphs import SHAPES, yaml_of
from joinery.compiler.compile import compile_workflow
from joinery.errors import InvalidWorkflow
from joinery.workflow.expressions import parse_template
from joinery.workflow.source import load
from joinery.workflow.validation import validate

SIZES = (10, 100, 500, 1_000, 2_000)
REPEATS = 5
ENOUGH_S = 1.5
"""A row that has taken this long is not repeated."""
PARSED_TEXTS = 1_000
"""More than the cache of parsed templates holds."""
AIM_MS = 2_000.0
"""What the largest graph may take."""


def main() -> None:
    """Prints a row for each shape and size."""
    print(f"{'':16}{'nodes':>6}{'compile':>11}{'growth':>8}{'from YAML':>11}{'growth':>8}")
    for shape in SHAPES:
        before: tuple[int, float, float] | None = None
        for size in SIZES:
            alone, whole, refused = measure(shape, size)
            now = (size, alone, whole)
            row = f"{shape:16}{size:6}{alone:8.1f} ms{_growth(before, now, 1):>8}"
            row += f"{whole:8.0f} ms{_growth(before, now, 2):>8}"
            if size == SIZES[-1] and alone > AIM_MS:
                row += f"  over {AIM_MS:.0f} ms"
            print(row + (f"  refused: {refused}" if refused else ""))
            before = now


def measure(shape: str, size: int) -> tuple[float, float, str]:
    """Returns the least time to compile, the same from YAML (both ms), and why it was refused."""
    alone: list[float] = []
    whole: list[float] = []
    refused = ""
    while len(alone) < REPEATS and sum(whole) < ENOUGH_S * 1000:
        text = yaml_of(SHAPES[shape](size, f"{shape} {size} {len(alone)}"))
        gc.collect()
        began = time.perf_counter()
        workflow = validate(load(text)).require()
        read = time.perf_counter() - began
        _forget()
        began = time.perf_counter()
        try:
            compile_workflow(workflow)
        except InvalidWorkflow as error:
            refused = ", ".join(sorted({problem.code for problem in error.problems}))
        compiled = time.perf_counter() - began
        alone.append(compiled * 1000)
        whole.append((read + compiled) * 1000)
    return min(alone), min(whole), refused


def _forget() -> None:
    """Pushes the texts of the graph out of the cache of parsed templates."""
    for number in range(PARSED_TEXTS):
        parse_template(f"another text, number {number}")


def _growth(before: tuple[int, float, float] | None, now: tuple[int, float, float], at: int) -> str:
    if before is None:
        return "–"
    return f"{2 ** (math.log(now[at] / before[at]) / math.log(now[0] / before[0])):.2f}"
