"""The client for code that awaits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self

from joinery.client.async_routes import AsyncRoutes
from joinery.client.batches import BATCH_S, Batch
from joinery.client.http import Token
from joinery.client.request import (
    TIMEOUT_S,
    Call,
    authorization,
    is_loopback,
    no_answer,
    outcome,
    pause_s,
)
from joinery.client.timing import Timing
from joinery.errors import Unavailable
from joinery.events.make import Event

if TYPE_CHECKING:
    import httpx

    from joinery.client.async_live import AsyncLive


class AsyncClient(AsyncRoutes):
    """`Client` for asyncio: the same arguments, methods and errors.

    Args:
        base_url: Address of the HTTP API.
        ws_url: Address of the WebSocket API; empty to follow runs by HTTP alone.
        token: Bearer token for both, or a function that returns one; see `Client`.
        timeout_s: Longest wait for an answer.
        timing: How long the watching of runs waits for what.
    """

    def __init__(
        self,
        base_url: str,
        ws_url: str = "",
        token: Token = "",
        *,
        timeout_s: float = TIMEOUT_S,
        timing: Timing | None = None,
    ) -> None:
        self.base_url, self.ws_url, self.token = base_url.rstrip("/"), ws_url, token
        self.timing = timing or Timing()
        self._timeout_s = timeout_s
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        if self._http is not None:
            await self._http.aclose()

    @property
    def headers(self) -> dict[str, str]:
        """What says who is calling."""
        return authorization(self.token() if callable(self.token) else self.token)

    async def publish_with_packages(
        self,
        source: str | Mapping[str, Any],
        *,
        opt: int | None = None,
        upgrade: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Publishes a workflow file with its packages; see `Client.publish_with_packages`.

        Raises:
            InvalidWorkflow: Everything that is wrong with it.
            RequirementsUnsolvable: Nothing meets some requirements there.
            IndexUnavailable: The package index does not answer.
        """
        from joinery.packages.publishing import needed_in, send_packages_async

        needed = await asyncio.to_thread(needed_in, source)
        packages = await send_packages_async(self, needed, upgrade=upgrade, tell=tell)
        return await self.publish(source, opt=opt, packages=packages)

    # -- watching ----------------------------------------------------------------------

    async def follow(self, run_id: str, *, after_seq: int = 0) -> AsyncGenerator[Event, None]:
        """Yields the events and text of a run as they happen; see `Client.follow`.

        Raises:
            NotFound: There is no such run.
            Unauthorized: The token is not good, or not any more.
            Unavailable: The API did not answer for a minute.
        """
        async with self.live() as live:
            live.watch(run_id, after_seq)
            async with aclosing(live.messages(strict=True)) as messages:
                async for message in messages:
                    yield message

    async def batches(
        self, run_id: str, *, every_s: float = BATCH_S, after_seq: int = 0
    ) -> AsyncGenerator[Batch, None]:
        """Yields what `follow` yields in batches for a screen; see `Client.batches`.

        Raises:
            JoineryError: As `follow`.
        """
        async with self.live() as live:
            live.watch(run_id, after_seq)
            async with aclosing(live.batches(every_s=every_s, strict=True)) as batches:
                async for batch in batches:
                    yield batch

    def live(self) -> AsyncLive:
        """Returns one socket for several runs and for commands; use it with `async with`."""
        from joinery.client.async_live import AsyncLive

        return AsyncLive(self)

    # -- the road ----------------------------------------------------------------------

    async def _ask(self, call: Call) -> dict[str, Any]:
        attempt = 1
        while True:
            answer = await self._send(call)
            if isinstance(answer, dict):
                return answer
            if attempt >= call.tries:
                raise answer
            await asyncio.sleep(pause_s(attempt))
            attempt += 1

    async def _send(self, call: Call) -> dict[str, Any] | Unavailable:
        import httpx

        if self._http is None:
            # Late: what follows a run in peace needs no HTTP, and this takes 30 ms.
            trust_env = not is_loopback(self.base_url)
            self._http = httpx.AsyncClient(timeout=self._timeout_s, trust_env=trust_env)
        try:
            response = await self._http.request(
                call.method,
                f"{self.base_url}{call.path}",
                json=call.body,
                headers={**self.headers, **(call.headers or {})},
                params=call.params or None,
            )
        except httpx.TransportError as error:
            return no_answer(self.base_url, error)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        return outcome(response.status_code, answer, call.method)
