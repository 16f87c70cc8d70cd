"""Compiles examples and constructs at every level; lints each machine, compares golden files.

`python -m tools.check_machines [--write]`

A construct is a workflow file in tests/data/constructs: dropping one in is all it takes.
Each machine passes statelint, and cfn-lint's schema of the Amazon States Language, which
`make check` installs with the SAM command line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from joinery.compiler.compile import compile_workflow
from joinery.compiler.opt import OPT_LEVELS
from joinery.workflow.validation import validate_file

ROOT = Path(__file__).parent.parent
ACCEPT = "python -m tools.check_machines --write"
GOLDEN = ROOT / "statemachines" / "compiled"
CONSTRUCTS = ROOT / "tests" / "data" / "constructs"
CFN_LINT = ROOT / ".tools" / "sam" / "bin" / "cfn-lint"


def main(arguments: list[str]) -> int:
    """Returns 0 when all machines are clean and equal to their golden files."""
    machines = dict(golden_machines())
    wrong = [f"{shown(old)} belongs to no workflow; remove it" for old in strays(machines)]
    for golden, text in machines.items():
        if "--write" in arguments:
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_text(text, encoding="utf-8")
        wrong.extend(f"{shown(golden)} {what}" for what in problems(golden, text))
    wrong.extend(schema_problems(machines))
    for line in wrong:
        print(line)
    print(f"machines: {f'{len(machines)} clean' if not wrong else f'{len(wrong)} problems'}")
    return 1 if wrong else 0


def shown(golden: Path) -> str:
    """Returns a golden file's path as messages show it."""
    return str(golden.relative_to(ROOT))


def golden_machines() -> Iterator[tuple[Path, str]]:
    """Yields each golden file with the machine that it should hold."""
    for folder, place in ((ROOT / "examples", GOLDEN), (CONSTRUCTS, GOLDEN / "constructs")):
        for file in sorted(folder.glob("*.yaml")):
            found = validate_file(file)
            for opt in OPT_LEVELS:
                compiled = compile_workflow(found.require(), opt=opt, children=found.children)
                text = compiled.definition_json(indent=2) + "\n"
                yield place / f"{file.stem}.O{opt}.asl.json", text


def strays(machines: Mapping[Path, str]) -> list[Path]:
    """Returns golden files that no workflow compiles to any more."""
    return [path for path in sorted(GOLDEN.rglob("*.asl.json")) if path not in machines]


def problems(golden: Path, text: str) -> Iterator[str]:
    """Yields how a machine differs from its golden file, and what statelint says of it."""
    from statelint.config import Config
    from statelint.linter import Linter

    if not golden.exists() or golden.read_text(encoding="utf-8") != text:
        yield f"differs; to accept it: {ACCEPT}"
    for problem in Linter.validate(text, Config([], False, True)):
        yield f"statelint: {problem}"


def schema_problems(machines: Mapping[Path, str]) -> Iterator[str]:
    """Yields what cfn-lint says of machines, all of them as resources of one template."""
    if not CFN_LINT.exists():
        yield "cfn-lint is not installed: run 'make .tools/sam/bin/sam'"
        return
    role = "arn:aws:iam::123456789012:role/machines"
    resources = {
        f"Machine{place}": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"RoleArn": role, "Definition": json.loads(text)},
        }
        for place, text in enumerate(machines.values())
    }
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "machines.json"
        template.write_text(json.dumps({"Resources": resources}), encoding="utf-8")
        done = subprocess.run(
            [CFN_LINT, "--template", template, "--format", "json", "--regions", "us-east-1"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    names = {f"Machine{place}": shown(golden) for place, golden in enumerate(machines)}
    for row in json.loads(done.stdout or "[]"):
        _, name, *path = map(str, row["Location"]["Path"])
        yield f"{names.get(name, name)}: {'/'.join(path[2:])}: {row['Message']}"
    if done.returncode and not done.stdout:
        yield f"cfn-lint: {done.stderr.strip()[-300:]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
