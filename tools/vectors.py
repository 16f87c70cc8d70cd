"""Refreshes what `tests/vectors/core.json` wants, from the Python core.

`python -m tools.vectors [--write]`. The steps are written by hand; `want` and `next` of
each are what the core did. Without `--write` the answer is 1 when they differ: read the
difference, it is what other clients will have to do too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joinery.client.core import Core
from joinery.client.timing import Timing

PATH = Path(__file__).parent.parent / "tests" / "vectors" / "core.json"


def played(case: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the steps of a case with what the core wants after each."""
    core = Core(
        socket=case.get("socket", True),
        timing=Timing(**case.get("timing", {})),
        rand=lambda: float(case.get("random", 0.5)),
    )
    return [step | wanted(core, step) for step in case["steps"]]


def wanted(core: Core, step: Mapping[str, Any]) -> dict[str, Any]:
    """Does one step; returns its effects and when a tick is due."""
    now = step["at"]
    match step:
        case {"watch": run_id}:
            core.watch(run_id, now, step.get("after_seq", 0))
        case {"unwatch": run_id}:
            core.unwatch(run_id, now)
        case {"command": action}:
            core.command(action, step.get("fields", {}), now)
        case {"opened": connection}:
            core.opened(connection, now)
        case {"open_failed": connection}:
            core.open_failed(connection, now)
        case {"closed": connection}:
            core.closed(connection, now)
        case {"frame": frame}:
            core.frame(step.get("connection", 1), frame, now)
        case {"fetched": id_}:
            core.fetched(id_, step["answer"], now)
        case {"fetch_failed": id_}:
            core.fetch_failed(id_, step["error"], now)
        case _:
            core.tick(now)
    return {"want": core.taken(), "next": None if core.next is None else round(core.next, 6)}


def dumped(content: Mapping[str, Any]) -> str:
    """Returns the file's text: a line for each step."""
    cases = []
    for case in content["cases"]:
        head = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in case.items() if k != "steps"]
        steps = ",\n".join(f"      {json.dumps(step)}" for step in case["steps"])
        cases.append(f'    {{{", ".join(head)}, "steps": [\n{steps}\n    ]}}')
    about = json.dumps(content["about"])
    return f'{{\n  "about": {about},\n  "cases": [\n' + ",\n".join(cases) + "\n  ]\n}\n"


def main(arguments: list[str]) -> int:
    """Writes the file, or says which cases differ."""
    before = PATH.read_text(encoding="utf-8")
    content = json.loads(before)
    differ = []
    for case in content["cases"]:
        steps = played(case)
        if steps != case["steps"]:
            differ.append(case["name"])
        case["steps"] = steps
    if "--write" in arguments:
        PATH.write_text(dumped(content), encoding="utf-8")
    for name in differ:
        print(f"differs: {name}")
    return 1 if differ and "--write" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
