"""Compiles every example at every level; lints each machine and compares it to its golden file.

`python -m tools.check_machines [--write]`
"""

from __future__ import annotations

import sys
from pathlib import Path

from joinery.compiler.compile import OPT_LEVELS, compile_workflow
from joinery.workflow.validation import validate_file

ROOT = Path(__file__).parent.parent
ACCEPT = "python -m tools.check_machines --write"
GOLDEN = ROOT / "statemachines" / "compiled"


def main(arguments: list[str]) -> int:
    """Returns 0 when all machines are clean and equal to their golden files."""
    from statelint.config import Config
    from statelint.linter import Linter

    lint = Config([], False, True)
    wrong = 0
    for example in sorted((ROOT / "examples").glob("*.yaml")):
        found = validate_file(example)
        for opt in OPT_LEVELS:
            text = (
                compile_workflow(found.require(), opt=opt, children=found.children).definition_json(
                    indent=2
                )
                + "\n"
            )
            golden = GOLDEN / f"{example.stem}.O{opt}.asl.json"
            if "--write" in arguments:
                golden.parent.mkdir(parents=True, exist_ok=True)
                golden.write_text(text, encoding="utf-8")
            if not golden.exists() or golden.read_text(encoding="utf-8") != text:
                print(f"{golden.relative_to(ROOT)} differs; to accept it: {ACCEPT}")
                wrong += 1
                continue
            for problem in Linter.validate(str(golden), lint):
                print(f"{golden.relative_to(ROOT)}: {problem}")
                wrong += 1
    print(f"machines: {'clean' if not wrong else f'{wrong} problems'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
