"""The local engine: the product itself, on the local stack."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from joinery.client import Client
from joinery.errors import Conflict
from joinery.runs.model import RUN_CLOSED
from joinery_cli.results import run_result

if TYPE_CHECKING:
    from joinery_cli.engines.base import Put, Stop
    from joinery_cli.local import LocalStack

_COST_TRIES: Final = 8
_COST_PAUSE_S: Final = 0.25


def client_of(stack: LocalStack) -> Client:
    """Returns a client of a local stack."""
    return Client(stack.http_api_url, stack.websocket_url, stack.token)


class LocalEngine:
    """One run on the local stack; it goes on without this command.

    Attributes:
        status: Its status when it was started.
        cost: What it took, once `result` was asked.
    """

    survives = True

    def __init__(
        self,
        client: Client,
        run_id: str,
        node_ids: tuple[str, ...] = (),
        *,
        status: str = "queued",
    ) -> None:
        self._client, self.run_id, self._node_ids = client, run_id, node_ids
        self.status = status
        self.cost: Mapping[str, Any] = {}

    @staticmethod
    def start(
        client: Client,
        source: str,
        inputs: Mapping[str, Any],
        *,
        node_ids: tuple[str, ...] = (),
        cassette: Any = None,
        model: str | None = None,
        opt: int | None = None,
        budget: Mapping[str, Any] | None = None,
        packages: Sequence[Mapping[str, Any]] = (),
    ) -> LocalEngine:
        """Publishes a workflow and starts a run of it.

        Raises:
            InvalidWorkflow: Everything that is wrong with it.
            InvalidInput: All that is wrong with the inputs.
            Unavailable: The stack does not answer.
        """
        workflow_id = client.publish(source, opt=opt, packages=packages)["workflow_id"]
        run = client.start(workflow_id, inputs, cassette=cassette, model=model, budget=budget)
        return LocalEngine(client, run["run_id"], node_ids, status=run["status"])

    def follow(self, put: Put, stop: Stop) -> None:
        """See `Engine.follow`."""
        for message in self._client.follow(self.run_id, stop=stop):
            put(message)

    def cancel(self) -> None:
        """See `Engine.cancel`."""
        try:
            self._client.cancel(self.run_id)
        except Conflict:
            return  # it has just ended by itself

    def answer(self, node_id: str, path: str, value: Any) -> None:
        """See `Engine.answer`."""
        self._client.input(self.run_id, value, node_id=node_id, path=path)

    def result(self) -> dict[str, Any]:
        """See `Engine.result`."""
        view = self._client.get(self.run_id)
        self.cost = self._cost(settled=view["status"] in RUN_CLOSED)
        return run_result(view, self.cost, self._node_ids)

    def _cost(self, *, settled: bool) -> Mapping[str, Any]:
        """Returns the cost, of a run that has ended once two answers agree.

        The calls of its last invocations are counted a moment late.
        """
        cost = self._client.cost(self.run_id)
        for _ in range(_COST_TRIES if settled else 0):
            time.sleep(_COST_PAUSE_S)
            again = self._client.cost(self.run_id)
            if again == cost:
                break
            cost = again
        return cost
