"""What a server tells of its models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


async def ask_window(
    client: httpx.AsyncClient,
    base_url: str,
    model: str,
    timeout_s: float,
    headers: Mapping[str, str],
) -> tuple[bool, int | None]:
    """Asks a server for the window of a model, in tokens.

    llama.cpp tells the window of one slot at `/props`, beside the API; it and vLLM
    tell the model's at `/models`. Most hosted APIs tell neither.

    Returns:
        Whether the server has answered at all, and the window if it told one.
    """
    root = base_url.removesuffix("/v1")
    props = await _ask(client, f"{root}/props", timeout_s, headers)
    if props is None:
        return False, None
    window = _whole(_inside(props, "default_generation_settings", "n_ctx"))
    if window is not None:
        return True, window
    listed = await _ask(client, f"{base_url}/models", timeout_s, headers)
    rows = listed.get("data") if listed else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("id") == model:
            told = row.get("max_model_len") or _inside(row, "meta", "n_ctx_train")
            return True, _whole(told)
    return True, None


async def _ask(
    client: httpx.AsyncClient, url: str, timeout_s: float, headers: Mapping[str, str]
) -> dict[str, Any] | None:
    """Returns the JSON object at an address, `{}` for any other answer, None without one."""
    import httpx

    try:
        async with asyncio.timeout(timeout_s):
            response = await client.get(url, headers={**headers, "accept": "application/json"})
        told = response.json() if response.status_code == 200 else {}
    except (httpx.HTTPError, TimeoutError):
        return None
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _inside(value: Mapping[str, Any] | None, *keys: str) -> Any:
    found: Any = value
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
