"""The client for code that waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from joinery.client.batches import BATCH_S, Batch
from joinery.client.request import (
    TIMEOUT_S,
    Call,
    authorization,
    is_loopback,
    no_answer,
    outcome,
    pause_s,
)
from joinery.client.routes import Routes
from joinery.client.timing import Timing
from joinery.errors import Unavailable
from joinery.events.make import Event

if TYPE_CHECKING:
    import httpx

    from joinery.client.live import Live

Token = str | Callable[[], str]
"""A bearer token, or what returns one that is good now."""


class Client(Routes):
    """Speaks to a Joinery installation. Use it as a context manager, or `close()` it.

    Every request may be repeated without harm, and is, when the connection breaks
    or the API is busy: a start carries an idempotency key.

    Args:
        base_url: Address of the HTTP API.
        ws_url: Address of the WebSocket API; empty to follow runs by HTTP alone.
        token: Bearer token for both, or a function that returns one. A function is asked
            again for every request and every socket, so that a long watch outlives a token.
        timeout_s: Longest wait for an answer.
        timing: How long the watching of runs waits for what.
        sleep: Waits between tries, in seconds.
    """

    def __init__(
        self,
        base_url: str,
        ws_url: str = "",
        token: Token = "",
        *,
        timeout_s: float = TIMEOUT_S,
        timing: Timing | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        self.base_url, self.ws_url, self.token = base_url.rstrip("/"), ws_url, token
        self.timeout_s, self.timing = timeout_s, timing or Timing()
        self._sleep = sleep
        self._http: httpx.Client = httpx.Client(
            timeout=timeout_s,
            # A proxy of the environment never stands before this very machine.
            trust_env=not is_loopback(base_url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    @property
    def headers(self) -> dict[str, str]:
        """What says who is calling."""
        return authorization(self.token() if callable(self.token) else self.token)

    def publish_with_packages(
        self,
        source: str | Mapping[str, Any],
        *,
        opt: int | None = None,
        upgrade: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Publishes a workflow file with the packages that its code requires.

        They are built on this machine, by uv, and sent where they are not there yet. The
        same requirements give the same versions as the last time on this machine.

        Args:
            source: The text of the file, or the workflow as an object.
            opt: Optimisation level; the highest when unset.
            upgrade: Whether to look for newer versions that meet the requirements.
            tell: Is told what takes its time, a line each.

        Raises:
            InvalidWorkflow: Everything that is wrong with it.
            RequirementsUnsolvable: Nothing meets some requirements there.
            IndexUnavailable: The package index does not answer.
        """
        from joinery.packages.publishing import needed_in, send_packages

        packages = send_packages(self, needed_in(source), upgrade=upgrade, tell=tell)
        return self.publish(source, opt=opt, packages=packages)

    # -- watching ----------------------------------------------------------------------

    def follow(
        self, run_id: str, *, after_seq: int = 0, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        """Yields the events and text of a run as they happen, until it has ended.

        Events come once each and in order. Text comes without holes and without
        repeats: each piece goes on where the one before it of its stream ended, and it
        is whole when its node has ended. Text that cannot be had is a `client.gap`. A
        connection that breaks is made again.

        Args:
            run_id: The run.
            after_seq: The last event that the caller has.
            stop: Asked several times a second; True ends the iteration.

        Raises:
            NotFound: There is no such run.
            Unauthorized: The token is not good, or not any more.
            Unavailable: The API did not answer for a minute.
        """
        with self.live() as live:
            live.watch(run_id, after_seq)
            yield from live.messages(stop=stop, strict=True)

    def batches(
        self,
        run_id: str,
        *,
        every_s: float = BATCH_S,
        after_seq: int = 0,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Batch]:
        """Yields what `follow` yields in batches for a screen, at most one every `every_s`.

        A batch is a list of messages in which each stream of text has one piece.

        Raises:
            JoineryError: As `follow`.
        """
        with self.live() as live:
            live.watch(run_id, after_seq)
            yield from live.batches(every_s=every_s, stop=stop, strict=True)

    def live(self) -> Live:
        """Returns one socket for several runs and for commands; use it as a context manager."""
        from joinery.client.live import Live

        return Live(self)

    # -- the road ----------------------------------------------------------------------

    def _ask(self, call: Call) -> dict[str, Any]:
        attempt = 1
        while True:
            answer = self._send(call)
            if isinstance(answer, dict):
                return answer
            if attempt >= call.tries:
                raise answer
            self._sleep(pause_s(attempt))
            attempt += 1

    def _send(self, call: Call) -> dict[str, Any] | Unavailable:
        import httpx

        try:
            response = self._http.request(
                call.method,
                f"{self.base_url}{call.path}",
                json=call.body,
                headers={**self.headers, **(call.headers or {})},
                params=call.params or None,
            )
        except httpx.TransportError as error:
            return no_answer(self.base_url, error)
        if response.status_code == httpx.codes.NO_CONTENT:
            return {}
        try:
            answer = response.json()
        except ValueError:
            answer = None
        return outcome(response.status_code, answer, call.method)
