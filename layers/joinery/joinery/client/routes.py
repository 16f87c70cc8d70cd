"""The routes of the HTTP API, one method each.

`async_routes.py` is made from this file by `python -m tools.generate`.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from joinery.client.request import TRIES, Call, path_of
from joinery.events.make import Event

_EVENTS_PAGE: Final = 500


class Routes(ABC):
    """What a client can ask. Every request may be repeated without harm, and is."""

    @abstractmethod
    def _ask(self, call: Call) -> dict[str, Any]:
        """Sends a request, again where that may help; returns the answer."""

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Sends a request that has no method of its own here.

        It is repeated when the connection breaks or the API is busy, so it must be one
        that may come twice.

        Raises:
            JoineryError: What the API answered.
        """
        return self._ask(Call(method, path, body, headers, params))

    def health(self) -> dict[str, Any]:
        """Returns what the API says of itself; needs no token."""
        return self._ask(Call("GET", "/health"))

    # -- workflows ---------------------------------------------------------------------

    def publish(
        self,
        source: str | Mapping[str, Any],
        *,
        opt: int | None = None,
        packages: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Publishes a workflow file; an unchanged one keeps its version.

        Args:
            source: The text of the file, or the workflow as an object.
            opt: Optimisation level; the highest when unset.
            packages: What was built and sent for the requirements of its code;
                `publish_with_packages` does both.

        Returns:
            `{workflow_id, version, …}`.

        Raises:
            InvalidWorkflow: Everything that is wrong with it.
        """
        body: dict[str, Any] = {"source": source}
        if opt is not None:
            body["opt"] = opt
        if packages:
            body["packages"] = [dict(package) for package in packages]
        return self._ask(Call("POST", "/workflows", body))

    def package_target(self) -> dict[str, Any]:
        """Returns the Python and the system that code runs on there: `{python, platform}`."""
        return self._ask(Call("GET", "/packages/target"))

    def offer_package(self, sha256: str, size: int) -> dict[str, Any]:
        """Asks whether you have stored a package there, and where to send it if not.

        Args:
            sha256: The hash of the zip.
            size: Its bytes.

        Returns:
            `{stored, upload: {url, method, headers, expires_at} or None}`.
        """
        return self._ask(Call("POST", "/packages", {"sha256": sha256, "bytes": size}))

    def workflows(self) -> list[dict[str, Any]]:
        """Returns the newest version of each of your workflows."""
        answer = self._ask(Call("GET", "/workflows"))
        found: list[dict[str, Any]] = answer["workflows"]
        return found

    def workflow(self, workflow_id: str, version: int | None = None) -> dict[str, Any]:
        """Returns a workflow with its source, the newest version by default. Raises: NotFound."""
        params = {} if version is None else {"version": version}
        return self._ask(Call("GET", path_of("workflows", workflow_id), params=params))

    # -- runs --------------------------------------------------------------------------

    def start(
        self,
        workflow_id: str,
        inputs: Mapping[str, Any],
        *,
        version: int | None = None,
        session_id: str | None = None,
        cassette: Any = None,
        model: str | None = None,
        budget: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Starts a run.

        Args:
            workflow_id: The workflow.
            inputs: Its inputs.
            version: Which version; the newest by default.
            session_id: The session that it belongs to.
            cassette: Scripted answers, in place of models.
            model: Another model for all nodes, such as `openai:gpt-4o-mini`.
            budget: What it may use, `{tokens?, usd?}`; takes the place of the workflow's.
            idempotency_key: The same key again gives the same run; random by default.

        Raises:
            InvalidInput: All that is wrong with the inputs.
            TooLarge: An input passes the limit.
            NotFound: There is no such workflow.
        """
        body: dict[str, Any] = {"workflow_id": workflow_id, "inputs": dict(inputs)}
        more = {"version": version, "session_id": session_id, "cassette": cassette, "model": model,
                "budget": None if budget is None else dict(budget)}  # fmt: skip
        body |= {name: value for name, value in more.items() if value is not None}
        key = idempotency_key or uuid.uuid4().hex
        return self._ask(Call("POST", "/runs", body, {"Idempotency-Key": key}))

    def runs(self, *, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """Returns a page of your runs, newest first: `{runs, next_cursor}`."""
        params = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
        return self._ask(Call("GET", "/runs", params=params))

    def get(self, run_id: str, *, results: bool = True) -> dict[str, Any]:
        """Returns a run with its nodes, and with outputs and results. Raises: NotFound."""
        params = {} if results else {"results": "false"}
        return self._ask(Call("GET", path_of("runs", run_id), params=params))

    def events(self, run_id: str, after_seq: int = 0) -> list[Event]:
        """Returns the stored events above a seq without a gap. Raises: NotFound."""
        found: list[Event] = []
        while True:
            page = self.events_page(run_id, after_seq)
            found.extend(page["events"])
            after_seq = page["next_after_seq"]
            if not page["events"] or after_seq >= page["head"]:
                return found

    def events_page(
        self,
        run_id: str,
        after_seq: int = 0,
        *,
        limit: int = _EVENTS_PAGE,
        wait: float = 0,
        tries: int = TRIES,
    ) -> dict[str, Any]:
        """Returns a page of stored events.

        Args:
            run_id: The run.
            after_seq: The last event that the caller has.
            limit: Most events.
            wait: How long the API may wait for one, in seconds up to 10.
            tries: 1 to leave repeating to the caller.

        Returns:
            `{events, head, next_after_seq}`.

        Raises:
            NotFound: There is no such run.
        """
        params: dict[str, Any] = {"after_seq": after_seq, "limit": limit}
        if wait:
            params["wait"] = f"{wait:g}"
        path = path_of("runs", run_id, "/events")
        return self._ask(Call("GET", path, params=params, tries=tries))

    def texts(
        self, run_id: str, node_id: str | None = None, *, tries: int = TRIES
    ) -> list[dict[str, Any]]:
        """Returns the stored text of a run, or of one node of it.

        Returns:
            Rows `{node_id, path, attempt, stream, offset, text}`.

        Raises:
            NotFound: There is no such run.
        """
        rows: list[dict[str, Any]] = []
        query = {"node_id": node_id} if node_id else {}
        path = path_of("runs", run_id, "/texts")
        while True:
            page = self._ask(Call("GET", path, params=query, tries=tries))
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
        return self._ask(Call("POST", path_of("runs", run_id, "/cancel")))

    def pause(self, run_id: str) -> dict[str, Any]:
        """Lets no further node of a run begin; those that run may finish.

        Pausing a paused run does nothing.

        Raises:
            Conflict: It has ended.
            NotFound: There is no such run.
        """
        return self._ask(Call("POST", path_of("runs", run_id, "/pause")))

    def resume(self, run_id: str, *, budget: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Goes on with a run that is paused, or from the node at which it failed.

        Args:
            run_id: The run.
            budget: What it may use in all, `{tokens?, usd?}`; one out of budget needs it.

        Raises:
            Conflict: It is neither paused nor failed, or is to be unlocked.
            NotFound: There is no such run.
        """
        body = None if budget is None else {"budget": dict(budget)}
        return self._ask(Call("POST", path_of("runs", run_id, "/resume"), body))

    def unlock(
        self, run_id: str, because: str = "", *, checks: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Goes on with a run that its breaker has stopped.

        Args:
            run_id: The run.
            because: Why it may go on.
            checks: In place of a reason, all of `content`, `cost` and `risk`.

        Raises:
            Conflict: Its breaker has not stopped it.
            InvalidRequest: There is neither a reason nor all checks.
            NotFound: There is no such run.
        """
        body = {"because": because, "checks": list(checks)}
        return self._ask(Call("POST", path_of("runs", run_id, "/unlock"), body))

    def input(
        self,
        run_id: str,
        value: Any,
        *,
        node_id: str | None = None,
        path: str | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Answers a question of a run, or tells its agents something.

        Args:
            run_id: The run.
            value: The answer, as the question has it; text for an agent.
            node_id: The question, or the agent; None is whichever agent is next to look.
            path: Which of its rounds or items, where several wait.
            idempotency_key: The same key again changes nothing; random by default.

        Returns:
            `{run_id, kind: "answer", node_id, path}`, or `{run_id, kind: "message", input_id}`.

        Raises:
            Conflict: It was answered already, waits no more, or no agent takes messages.
            InvalidInput: All that is wrong with the answer.
            NotFound: There is no such run.
        """
        body: dict[str, Any] = {"value": value}
        more = {"node_id": node_id, "path": path}
        body |= {name: said for name, said in more.items() if said is not None}
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return self._ask(Call("POST", path_of("runs", run_id, "/input"), body, headers))

    def fork(
        self,
        run_id: str,
        node_id: str | None = None,
        *,
        path: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Starts a new run that takes over what had ended before a node, and runs the rest.

        Args:
            run_id: The run; it has ended or is paused.
            node_id: The first node to run again; None runs everything again.
            path: Which of its rounds or items; the first when None.
            inputs: Inputs that change.
            idempotency_key: The same key again gives the same new run; random by default.

        Raises:
            Conflict: The run goes on.
            InvalidInput: All that is wrong with the inputs.
            NotFound: There is no such run.
        """
        body = {"node_id": node_id, "path": path, "inputs": dict(inputs or {})}
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return self._ask(Call("POST", path_of("runs", run_id, "/fork"), body, headers))

    def delete(self, run_id: str, *, cancel: bool = False) -> None:
        """Deletes a run that has ended, with everything that it has stored.

        Args:
            run_id: The run.
            cancel: Cancel it first if it has not ended.

        Raises:
            Conflict: It has not ended.
            NotFound: There is no such run.
        """
        params = {"cancel": "true"} if cancel else {}
        self._ask(Call("DELETE", path_of("runs", run_id), params=params))

    def cost(self, run_id: str) -> dict[str, Any]:
        """Returns what a run used.

        Returns:
            `{transitions, aws_calls, tokens, model_calls, price_usd, price_by_service}`.
        """
        return self._ask(Call("GET", path_of("runs", run_id, "/cost")))

    def session_usage(self, session_id: str) -> dict[str, Any]:
        """Returns what the ended runs of a session used: `{session_id, usage}`.

        Raises:
            NotFound: None of them has used a model.
        """
        return self._ask(Call("GET", path_of("sessions", session_id, "/usage")))

    def ticket(self) -> dict[str, Any]:
        """Returns what opens one socket without a header: `{ticket, expires_at}`.

        It is good once, for 30 seconds, as `?ticket=`. This client sends headers and
        needs none; hand it to a browser.
        """
        return self._ask(Call("POST", "/tickets"))
