"""Wires ports to adapters, from environment variables: the one place that knows both.

Everything is made when it is first asked for and then kept: a Lambda's process serves
many invocations, and none should pay for what it does not use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from joinery.errors import JoineryError
from joinery.limits import DELTA_INTERVAL_S
from joinery.settings import PREFIX, Settings

if TYPE_CHECKING:
    from joinery.aws.clients import Clients
    from joinery.aws.documents import Documents
    from joinery.aws.dynamo_catalog import DynamoCatalogStore
    from joinery.aws.dynamo_connections import DynamoConnections
    from joinery.aws.dynamo_passes import DynamoPasses
    from joinery.aws.dynamo_runs import DynamoRunStore
    from joinery.aws.dynamo_tickets import DynamoTickets
    from joinery.aws.dynamo_tokens import DynamoTokens
    from joinery.aws.dynamo_watches import DynamoWatches
    from joinery.aws.sockets import SocketPublisher
    from joinery.catalog.child_runs import PublishedChildRuns
    from joinery.catalog.ports import Executions, Machines
    from joinery.compiler.plan import Plan
    from joinery.llm.calls import Calls
    from joinery.llm.keys import Keys
    from joinery.llm.prices import Prices
    from joinery.nodes.base import Models
    from joinery.packages.ports import PackageStore
    from joinery.runs.deps import Deps
    from joinery.sandbox.types import CodeRunner
    from joinery.sockets.ports import SocketServices
    from joinery.tools.services import ToolServices
    from joinery.tracing import Tracer

DAY_S: Final = 86_400.0

FLUSH_S: Final = 3.0
DRAIN_S: Final = 10.0
"""Longest wait for messages on their way out, before Lambda freezes the process."""


@cache
def settings() -> Settings:
    """Returns what the environment says."""
    return Settings.from_env(os.environ)


# -- adapters --------------------------------------------------------------------------


@cache
def clients() -> Clients:
    """Returns the AWS clients."""
    from joinery.aws.clients import Clients

    return Clients(websocket_endpoint=settings().websocket_endpoint)


@cache
def documents() -> Documents:
    """Returns where large values are."""
    from joinery.aws.documents import Documents

    return Documents(clients().s3, settings().bucket)


@cache
def packages() -> PackageStore:
    """Returns where the packages of users' code are."""
    from joinery.aws.packages import S3Packages

    return S3Packages(clients().s3, settings().bucket)


@cache
def store() -> DynamoRunStore:
    """Returns the store of runs."""
    from joinery.aws.dynamo_runs import DynamoRunStore

    days = settings().retention_days
    return DynamoRunStore(
        clients().dynamodb,
        settings().state_table,
        documents(),
        retention_s=float(days) * DAY_S if days else None,
    )


@cache
def catalog() -> DynamoCatalogStore:
    """Returns the published workflows."""
    from joinery.aws.dynamo_catalog import DynamoCatalogStore

    return DynamoCatalogStore(clients().dynamodb, settings().catalog_table, documents())


@lru_cache(maxsize=32)
def plan(ref: str) -> Plan:
    """Returns a plan by `<workflow_id>/<version>`; versions never change."""
    from joinery.compiler.plan import Plan

    workflow_id, _, version = ref.rpartition("/")
    found = Plan.from_dict(catalog().version(workflow_id, int(version)).plan)
    return found.for_stage(settings().stage) if found.models else found


@cache
def tokens() -> DynamoTokens:
    """Returns the tokens of callers."""
    from joinery.aws.dynamo_tokens import DynamoTokens

    return DynamoTokens(clients().dynamodb, settings().catalog_table)


@cache
def tickets() -> DynamoTickets:
    """Returns the tickets that were not used yet."""
    from joinery.aws.dynamo_tickets import DynamoTickets

    return DynamoTickets(clients().dynamodb, settings().connections_table)


@cache
def passes() -> DynamoPasses:
    """Returns the passes to the events of a run."""
    from joinery.aws.dynamo_passes import DynamoPasses

    return DynamoPasses(clients().dynamodb, settings().connections_table)


@cache
def connections() -> DynamoConnections:
    """Returns the open sockets."""
    from joinery.aws.dynamo_connections import DynamoConnections

    return DynamoConnections(clients().dynamodb, settings().connections_table)


@cache
def watches() -> DynamoWatches:
    """Returns which runs the open sockets watch."""
    from joinery.aws.dynamo_watches import DynamoWatches

    return DynamoWatches(clients().dynamodb, settings().connections_table)


@cache
def publisher() -> SocketPublisher:
    """Returns what reaches the people who watch."""
    from joinery.aws.sockets import SocketPublisher

    return SocketPublisher(clients().sockets, store(), connections())


@cache
def machines() -> Machines:
    """Returns what has state machines made, by the `publisher` function."""
    from joinery.aws.machines import PublisherClient

    function = settings().require("publisher_function").publisher_function
    return PublisherClient(clients().functions, function)


@cache
def state_machines() -> Machines:
    """Returns what makes state machines itself: in the `publisher` function."""
    from joinery.aws.machines import StepFunctionsMachines

    role_arn = settings().require("machine_role_arn").machine_role_arn
    return StepFunctionsMachines(clients().states, role_arn)


@cache
def executions() -> Executions:
    """Returns what starts and stops executions."""
    from joinery.aws.executions import StepFunctionsExecutions

    return StepFunctionsExecutions(clients().states)


@cache
def code_runner() -> CodeRunner:
    """Returns what has users' code run, by the `run_code` function."""
    from joinery.aws.code import LambdaCodeRunner

    return LambdaCodeRunner(
        clients().code,
        lambda: settings().require("run_code_arn").run_code_arn,
        clients().counter.add,
        packages(),
    )


@cache
def child_runs(*, wakes: bool) -> PublishedChildRuns:
    """Returns what starts child runs; with `wakes`, also what ends the nodes that wait."""
    from joinery.aws.task_tokens import StepFunctionsTokens
    from joinery.catalog.child_runs import PublishedChildRuns

    tokens = StepFunctionsTokens(clients().states) if wakes else None
    return PublishedChildRuns(catalog(), executions(), tokens)


@cache
def prices() -> Prices:
    """Returns what models cost, with the installation's own prices."""
    from joinery.llm.prices import prices_from

    return prices_from(os.environ)


@cache
def calls() -> Calls:
    """Returns what all calls of models share, with all other functions of the installation."""
    from joinery import bootstrap_models

    return bootstrap_models.calls(settings(), clients())


@cache
def tool_services() -> ToolServices:
    """Returns what tools may use; no secret is read yet."""
    from joinery import bootstrap_models

    return bootstrap_models.tool_services(settings(), clients())


@cache
def tracer() -> Tracer:
    """Returns what makes spans, where the environment names a collector."""
    from joinery.tracing import tracer_of

    return tracer_of(os.environ, settings().stage)


# -- what the handlers use ---------------------------------------------------------------


def run_deps(models: Models | None = None) -> Deps:
    """Returns what running needs; without models where no node runs."""
    return _deps(models, wakes=models is not None)


def closing_deps() -> Deps:
    """Returns what closing runs needs, with the right to wake nodes that wait for them."""
    return _deps(None, wakes=True)


def _deps(models: Models | None, *, wakes: bool) -> Deps:
    from joinery.llm.calls import Calls
    from joinery.runs.deps import Deps

    delta_s = float(settings().delta_ms) / 1000 if settings().delta_ms else DELTA_INTERVAL_S
    return Deps(
        store(),
        publisher(),
        models or _NoModels(),
        delta_s=delta_s,
        code=code_runner(),
        children=child_runs(wakes=wakes),
        prices=prices,
        stage=settings().stage,
        calls=calls() if models else Calls(),
        tracer=tracer(),
        tool_services=tool_services(),
    )


def models_of(extra: Mapping[str, Any]) -> Models:
    """Returns the models of a run that is pinned to `{cassette?, model?}`.

    A cassette answers for every model; `model` stands in for every node's own.
    """
    if extra.get("cassette") is not None:
        from joinery import bootstrap_models

        return bootstrap_models.scripted(extra["cassette"])
    return _registry(extra.get("model") or "")


@cache
def _registry(flag: str) -> Models:
    """Returns a registry that keeps its connections between invocations."""
    from joinery import bootstrap_models

    return bootstrap_models.registry(clients(), model_keys(), flag)


@cache
def model_keys() -> Keys:
    """Returns where the keys of providers are; nothing is read yet."""
    from joinery import bootstrap_models

    return bootstrap_models.model_keys(settings(), clients())


def describe_execution(execution_arn: str) -> Mapping[str, Any] | None:
    """Returns `{name, status, error?, cause?}` of an execution, None when it is unknown."""
    from joinery.aws.executions import StepFunctionsExecutions

    return StepFunctionsExecutions(clients().states).describe(execution_arn)


def archive() -> DynamoRunStore:
    """Returns the store of runs, as the HTTP API reads it."""
    return store()


def calls_of_run(run_id: str, since: float) -> Mapping[str, int]:
    """Returns the AWS calls of a run's node invocations, from what they logged."""
    from joinery.aws.logs import CallLogs

    group = f"/aws/lambda/joinery-{settings().stage}-run-node"
    return CallLogs(clients().logs, [group]).calls_of_run(run_id, since)


def run_node_arn() -> str:
    """Returns what compiled machines invoke."""
    return settings().require("run_node_arn").run_node_arn


def machine_prefix() -> str:
    """Returns what names of machines begin with."""
    return settings().require("machine_prefix").machine_prefix


def socket_services() -> SocketServices:
    """Returns what messages of sockets need."""
    from joinery.aws.outlet import PatientOutlet
    from joinery.aws.posting import SocketSender
    from joinery.sockets.ports import SocketServices

    return SocketServices(
        deps=run_deps(),
        waking=closing_deps(),
        subscribers=store(),
        connections=connections(),
        watches=watches(),
        outlet=PatientOutlet(SocketSender(clients().sockets)),
        catalog=catalog(),
        executions=executions(),
        sleep=time.sleep,
    )


def preload() -> None:
    """Imports the AWS SDK and makes the client that everything needs.

    Called while a function's module is loaded: Lambda gives that phase a whole
    processor, and the invocations after it only a share of one. Does nothing
    outside an installation.
    """
    if PREFIX + "STATE_TABLE" in os.environ:
        clients().dynamodb.meta  # noqa: B018 - asking for any attribute makes the client


def drain(timeout_s: float = DRAIN_S, end_s: float = DRAIN_S) -> None:
    """Waits for messages on their way out, then for spans; call it before a handler returns.

    Args:
        timeout_s: Longest wait, in seconds.
        end_s: Longest wait if the end of a run is among the messages.
    """
    try:
        if publisher.cache_info().currsize:
            publisher().drain(timeout_s, end_s)
    finally:
        if tracer.cache_info().currsize:
            tracer().flush(FLUSH_S)


class _NoModels:
    """For functions that run no nodes."""

    def resolve(self, ref: Mapping[str, Any]) -> Any:
        raise JoineryError("this function runs no nodes")
