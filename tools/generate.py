"""Makes what follows from a schema: types, documentation, OpenAPI.

`python -m tools.generate [--check]`. With `--check` nothing is written: the answer
is 1 when a file is not what it would be made to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tools.async_routes import async_routes
from tools.event_docs import with_reference
from tools.event_js import event_js
from tools.event_schema import Schema
from tools.event_types import event_types

ROOT = Path(__file__).parent.parent


def _types() -> str:
    return _formatted(event_types(Schema.read(ROOT)))


def _protocol_js() -> str:
    return event_js(Schema.read(ROOT))


def _async_routes() -> str:
    return _formatted(async_routes(ROOT))


def _formatted(made: str) -> str:
    for step in (["check", "--select", "I", "--fix", "--quiet"], ["format"]):
        command = [sys.executable, "-m", "ruff", *step, "--stdin-filename", "made.py", "-"]
        made = subprocess.run(
            command, input=made, encoding="utf-8", stdout=subprocess.PIPE, check=True, cwd=ROOT
        ).stdout
    return made


def _event_docs() -> str:
    page = ROOT / "docs" / "events.md"
    return with_reference(page.read_text(encoding="utf-8"), Schema.read(ROOT))


def _workflow_schema() -> str:
    from joinery.workflow.schema import json_schema

    return _json(json_schema())


def _openapi() -> str:
    from joinery import bootstrap
    from joinery.api.app import create_app

    return _json(create_app(bootstrap).openapi())


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


MADE: dict[str, Callable[[], str]] = {
    "layers/joinery/joinery/events/types.py": _types,
    "layers/joinery/joinery/client/async_routes.py": _async_routes,
    "console/protocol.js": _protocol_js,
    "docs/events.md": _event_docs,
    "docs/workflow.schema.json": _workflow_schema,
    "docs/openapi.json": _openapi,
}


def main(arguments: list[str]) -> int:
    """Writes the files, or says which ones differ."""
    stale = []
    for name, make in MADE.items():
        path, text = ROOT / name, make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    if stale and "--check" in arguments:
        print("not up to date (python -m tools.generate): " + ", ".join(stale))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
