"""Writes `joinery/client/async_routes.py`: the routes of the client for asyncio."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path("layers/joinery/joinery/client/routes.py")

HEADER = '''"""The routes of the HTTP API for asyncio; made from `routes.py`, not by hand.

Run `python -m tools.generate` after a change of it.
"""
'''


def async_routes(root: Path) -> str:
    """Returns the module's text, not yet formatted."""
    text = (root / SOURCE).read_text(encoding="utf-8")
    _, _, body = text.split('"""', 2)
    body = body.replace("class Routes(", "class AsyncRoutes(")
    body = body.replace("    def ", "    async def ")
    # What calls a route, or sends a request, waits for it.
    return HEADER + re.sub(r"(?<![\w.])self\.(\w+)\(", r"await self.\1(", body)
