"""Requests to the HTTP API."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, urlsplit

from joinery.client.failures import error_from
from joinery.errors import Unavailable
from joinery.events.make import Event

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 35.0
"""The HTTP API itself gives up after 30 s."""

TRIES: Final = 4
_FIRST_PAUSE_S: Final = 0.2
_RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
_EVENTS_PAGE: Final = 500


class Client:
    """Speaks to a Joinery installation. Use it as a context manager, or `close()` it.

    Every request may be repeated without harm, and is, when the connection breaks
    or the API is busy: a start carries an idempotency key.

    Args:
        base_url: Address of the HTTP API.
        ws_url: Address of the WebSocket API; empty to follow runs by HTTP alone.
        token: Bearer token for both.
        timeout_s: Longest wait for an answer.
        sleep: Waits between tries, in seconds.
    """

    def __init__(
        self,
        base_url: str,
        ws_url: str = "",
        token: str = "",
        *,
        timeout_s: float = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        self.base_url, self.ws_url, self.token = base_url.rstrip("/"), ws_url, token
        self._sleep = sleep
        self._http: httpx.Client = httpx.Client(
            headers=self.headers,
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
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    # -- requests ----------------------------------------------------------------------

    def publish(self, source: str, *, opt: int | None = None) -> dict[str, Any]:
        """Publishes a workflow file; an unchanged one keeps its version.

        Returns:
            `{workflow_id, version, …}`.

        Raises:
            InvalidWorkflow: Everything that is wrong with it.
        """
        body: dict[str, Any] = {"source": source}
        if opt is not None:
            body["opt"] = opt
        return self._ask("POST", "/workflows", body)

    def start(
        self,
        workflow_id: str,
        inputs: Mapping[str, Any],
        *,
        cassette: Any = None,
        model: str | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Starts a run of the newest version.

        Args:
            workflow_id: The workflow.
            inputs: Its inputs.
            cassette: Scripted answers, in place of models.
            model: Another model for all nodes, such as `openai:gpt-4o-mini`.
            idempotency_key: The same key again gives the same run; random by default.

        Raises:
            InvalidInput: All that is wrong with the inputs.
            TooLarge: An input passes the limit.
            NotFound: There is no such workflow.
        """
        body: dict[str, Any] = {"workflow_id": workflow_id, "inputs": dict(inputs)}
        if cassette is not None:
            body["cassette"] = cassette
        if model is not None:
            body["model"] = model
        key = idempotency_key or uuid.uuid4().hex
        return self._ask("POST", "/runs", body, headers={"Idempotency-Key": key})

    def get(self, run_id: str) -> dict[str, Any]:
        """Returns a run with its nodes and outputs. Raises: NotFound."""
        return self._ask("GET", _run_path(run_id))

    def events(self, run_id: str, after_seq: int = 0) -> list[Event]:
        """Returns the stored events above a seq without a gap. Raises: NotFound."""
        found: list[Event] = []
        while True:
            query = {"after_seq": after_seq, "limit": _EVENTS_PAGE}
            page = self._ask("GET", _run_path(run_id, "/events"), params=query)
            found.extend(page["events"])
            after_seq = page["next_after_seq"]
            if not page["events"] or after_seq >= page["head"]:
                return found

    def texts(self, run_id: str, node_id: str | None = None) -> list[dict[str, Any]]:
        """Returns the stored text of a run, or of one node of it.

        Returns:
            Rows `{node_id, path, attempt, stream, offset, text}`.

        Raises:
            NotFound: There is no such run.
        """
        rows: list[dict[str, Any]] = []
        query = {"node_id": node_id} if node_id else {}
        while True:
            page = self._ask("GET", _run_path(run_id, "/texts"), params=query)
            rows.extend(page["texts"])
            if not page["next_cursor"]:
                return rows
            query["cursor"] = page["next_cursor"]

    def cancel(self, run_id: str) -> dict[str, Any]:
        """Cancels a run; cancelling it again does nothing.

        Raises:
            Conflict: It has ended in another way.
            NotFound: There is no such run.
        """
        return self._ask("POST", _run_path(run_id, "/cancel"))

    def runs(self, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """Returns one page of the caller's runs, newest first.

        Returns:
            `{runs, next_cursor}`; the cursor is None on the last page.
        """
        where = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        return self._ask("GET", "/runs", params=where)

    def pause(self, run_id: str) -> dict[str, Any]:
        """Lets no further node of a run begin; those that run may finish.

        Pausing a paused run does nothing.

        Raises:
            Conflict: It has ended.
            NotFound: There is no such run.
        """
        return self._ask("POST", _run_path(run_id, "/pause"))

    def resume(self, run_id: str) -> dict[str, Any]:
        """Goes on with a run that is paused, or from the node at which it failed.

        Raises:
            Conflict: It is neither paused nor failed.
            NotFound: There is no such run.
        """
        return self._ask("POST", _run_path(run_id, "/resume"))

    def fork(
        self,
        run_id: str,
        node_id: str | None = None,
        *,
        path: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Starts a new run that takes over what had ended before a node, and runs the rest.

        Args:
            run_id: The run; it has ended or is paused.
            node_id: The first node to run again; None runs everything again.
            path: Which of its rounds or items; the first when None.
            inputs: Inputs that change.
            key: The same key again gives the same new run; made up when None.

        Raises:
            Conflict: The run goes on.
            InvalidInput: All that is wrong with the inputs.
            NotFound: There is no such run.
        """
        body = {"node_id": node_id, "path": path, "inputs": dict(inputs or {})}
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self._ask("POST", _run_path(run_id, "/fork"), body, headers=headers)

    def delete(self, run_id: str, *, cancel: bool = False) -> None:
        """Deletes a run that has ended; with `cancel`, also one that has not.

        Raises:
            Conflict: It has not ended.
            NotFound: There is no such run.
        """
        where = {"cancel": "true"} if cancel else None
        self._ask("DELETE", _run_path(run_id), params=where)

    def cost(self, run_id: str) -> dict[str, Any]:
        """Returns what a run used.

        Returns:
            `{transitions, transitions_predicted, aws_calls, tokens, model_calls, price_usd,
            price_by_service}`.
        """
        return self._ask("GET", _run_path(run_id, "/cost"))

    def follow(
        self, run_id: str, *, after_seq: int = 0, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        """Yields the events and text of a run as they happen, until it has ended.

        Events come once each and in order; text comes merged from whatever road it
        took. A connection that breaks is made again, and nothing is lost.

        Args:
            run_id: The run.
            after_seq: The last event that the caller has.
            stop: Asked several times a second; True ends the iteration.

        Raises:
            NotFound: There is no such run.
            Unavailable: The API did not answer for a minute.
        """
        from joinery.client.follow import Follower

        return Follower(self, run_id, after_seq=after_seq, stop=stop).messages()

    # -- the road ----------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        attempt = 1
        while True:
            answer = self._send(method, path, body, headers, params)
            if isinstance(answer, dict):
                return answer
            if attempt == TRIES:
                raise answer
            self._sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
            attempt += 1

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        params: Mapping[str, Any] | None,
    ) -> dict[str, Any] | Unavailable:
        """Returns the answer, or why another try may help.

        Raises:
            JoineryError: Another try would end the same.
        """
        import httpx

        try:
            response = self._http.request(
                method, f"{self.base_url}{path}", json=body, headers=headers, params=params
            )
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            return Unavailable(f"no answer from {self.base_url}: {reason}")
        if response.status_code == httpx.codes.NO_CONTENT:
            return {}
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.is_success and isinstance(answer, dict):
            return answer
        failure = error_from(response.status_code, answer)
        if response.status_code in _RETRIED_STATUSES:
            return Unavailable(failure.message, **failure.details)
        raise failure


def is_loopback(url: str) -> bool:
    """Whether an address is on this very machine."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _run_path(run_id: str, rest: str = "") -> str:
    return f"/runs/{quote(run_id, safe='')}{rest}"
