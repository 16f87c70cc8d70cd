"""`python -m joinery_cli.packaging FUNCTION TARGET_DIR`: what functions/Makefile runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from joinery_cli.packaging.bundle import FUNCTIONS, build, export
from joinery_cli.packaging.errors import PackagingFailed
from joinery_cli.packaging.target import ARCHITECTURES, AWS_PYTHON, Target
from joinery_cli.project import find_project


def main(arguments: list[str] | None = None) -> int:
    """Builds one function into a folder and prints its size; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m joinery_cli.packaging", description=__doc__)
    parser.add_argument("function", help="folder below functions/, or logical id in template.yaml")
    parser.add_argument("target_dir", type=Path)
    parser.add_argument("--local", action="store_true", help="for this very Python, with bootstrap")
    parser.add_argument("--arch", choices=ARCHITECTURES, default="arm64")
    parser.add_argument("--python-version", default=AWS_PYTHON)
    options = parser.parse_args(arguments)
    target = (
        Target.for_this_machine()
        if options.local
        else Target.for_aws(options.arch, options.python_version)
    )
    function = FUNCTIONS.get(options.function, options.function)
    try:
        bundle = build(find_project(), function, target)
    except PackagingFailed as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    export(bundle, options.target_dir)
    print(f"{function}: {bundle.size / 1_048_576:.1f} MB ({target.name})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
