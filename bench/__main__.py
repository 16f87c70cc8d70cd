"""`python -m bench [NAME ...]`: runs all benchmarks, or those named."""

from __future__ import annotations

import sys

from bench import compile as compile_bench
from bench import engine, imports, langgraph_compare, runs, streams, transitions

BENCHES = {
    "imports": imports.main,
    "engine": engine.main,
    "compile": compile_bench.main,
    "transitions": transitions.main,
    "langgraph": langgraph_compare.main,
    "runs": runs.main,
    "streams": streams.main,
}


def main(names: list[str]) -> int:
    """Runs the benchmarks; returns 2 for a name that is none."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}")
        return 2
    for name in names or BENCHES:
        print(f"\n== {name}")
        BENCHES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
