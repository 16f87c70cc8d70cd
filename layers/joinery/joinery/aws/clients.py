"""AWS clients: made when first used, with tight timeouts, and counted call by call."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from joinery import limits
from joinery.llm.timeouts import FIRST_TOKEN_TIMEOUT_S

CONNECT_TIMEOUT_S: Final = 1.0
"""Inside a region a connection takes milliseconds; what takes longer is gone."""


@dataclass(frozen=True, slots=True)
class _Tuning:
    """How one service is called.

    Attributes:
        service: boto3's name of it.
        read_s: Longest wait for an answer, in seconds.
        attempts: Most attempts of one call, the first included.
        pool: Most connections kept open: as many threads as may call at once.
    """

    service: str
    read_s: float
    attempts: int = 3
    pool: int = 10


# An invocation that runs a plan inline has up to 40 nodes at work, each with its writers.
_DYNAMODB = _Tuning("dynamodb", 3.0, pool=64)
_S3 = _Tuning("s3", 10.0)  # documents have up to 4 MB
_STATES = _Tuning("stepfunctions", 5.0)
# Publishing waits for CreateStateMachine, which AWS throttles to one a second. A call
# that is repeated by the SDK would create twice at once: the caller repeats it, by name.
_LAMBDA = _Tuning("lambda", 25.0, attempts=1)
# A call lasts as long as the code that it runs.
_CODE = _Tuning("lambda", limits.NODE_TIMEOUT_S + 30.0, attempts=1)
_LOGS = _Tuning("logs", 10.0)
# A slow phone must not hold a lane for long; lanes have a back-off of their own.
_SOCKETS = _Tuning("apigatewaymanagementapi", 2.0, attempts=2, pool=32)

# A model may be silent for as long as the provider allows; who calls it decides about repeats.
_BEDROCK = _Tuning("bedrock-runtime", FIRST_TOKEN_TIMEOUT_S + 5.0, attempts=1, pool=64)
_SECRETS = _Tuning("secretsmanager", 3.0)
_SSM = _Tuning("ssm", 3.0)

_SIGNS: Final[dict[str, Any]] = {
    "signature_version": "s3v4",
    "s3": {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
}
"""Addresses that are signed for others are the region's own; by default they are of an older
form and of no region, and the network of users' code leads to this region alone."""

_SHOWN: Final = {"stepfunctions": "states"}
"""Names of services in the counts, where boto3's are not the ones that people know."""


class CallCounter:
    """Counts calls as `service.Operation`, every attempt of the SDK by itself, and units.

    Use `reset` when an invocation begins and `snapshot` when it ends.
    """

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._units = {"read": 0.0, "write": 0.0}
        self._lock = threading.Lock()

    def attach(self, client: Any, service: str) -> None:
        """Counts what a client sends from now on."""
        shown = _SHOWN.get(service, service)

        def count(event_name: str, **_: Any) -> None:
            # `before-send.<service id>.<Operation>` comes once for each attempt.
            self.add(f"{shown}.{event_name.rsplit('.', 1)[1]}")

        client.meta.events.register("before-send", count)
        if service == "dynamodb":
            client.meta.events.register("provide-client-params", _ask_for_units)
            client.meta.events.register("after-call", self._count_units)

    def add(self, name: str) -> None:
        """Counts one call."""
        with self._lock:
            self._calls[name] += 1

    def _count_units(self, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
        name = f"dynamodb.{model.name}"
        kind = "read" if name in limits.ASSUMED_READ_UNITS else "write"
        told = parsed.get("ConsumedCapacity")
        if told is None:
            assumed = {**limits.ASSUMED_READ_UNITS, **limits.ASSUMED_WRITE_UNITS}
            units = assumed.get(name, 0.0)
        else:
            tables = told if isinstance(told, list) else [told]
            units = sum(table.get("CapacityUnits", 0.0) for table in tables)
        with self._lock:
            self._units[kind] += units

    def reset(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._calls.clear()
            self._units = {"read": 0.0, "write": 0.0}

    def snapshot(self) -> dict[str, int]:
        """Returns calls by name, sorted."""
        with self._lock:
            return dict(sorted(self._calls.items()))

    def units(self) -> dict[str, float]:
        """Returns the units of DynamoDB that were taken, `{read, write}`, as it tells them."""
        with self._lock:
            return dict(self._units)


def _ask_for_units(params: dict[str, Any], model: Any, **_: Any) -> None:
    if "ReturnConsumedCapacity" in model.input_shape.members:
        params.setdefault("ReturnConsumedCapacity", "TOTAL")


class LazyClient:
    """Stands for a client that is made when its first method is asked for.

    Making one costs 20 to 100 ms, which a function that never calls the service
    should not pay when it starts.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._client: Any = None
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._make()
        return getattr(self._client, name)


class Clients:
    """One client a service for the whole process; thread safe.

    Args:
        websocket_endpoint: Address of the WebSocket API's management endpoint, stage included.
        region: AWS region; None takes the SDK's own choice.
        counter: Counts the calls; one is made when none is given.
        options: What every client is made with besides, such as `endpoint_url` and keys.

    Attributes:
        counter: Counts the calls of all clients.
        dynamodb: DynamoDB.
        s3: S3.
        states: Step Functions.
        functions: Lambda.
        code: Lambda, for calls that run users' code.
        logs: CloudWatch Logs.
        sockets: The management API of WebSocket connections.
        bedrock: Bedrock's models; calls of models are counted as tokens, not here.
        secrets: Secrets Manager.
        ssm: Parameters of Systems Manager.
    """

    def __init__(
        self,
        *,
        websocket_endpoint: str = "",
        region: str | None = None,
        counter: CallCounter | None = None,
        **options: Any,
    ) -> None:
        self.counter = counter or CallCounter()
        self._options = {"region_name": region, **options}
        self._session: Any = None
        self._lock = threading.Lock()
        self.dynamodb = self._lazy(_DYNAMODB)
        self.s3 = self._lazy(_S3)
        self.states = self._lazy(_STATES)
        self.functions = self._lazy(_LAMBDA)
        self.code = self._lazy(_CODE, counted=False)  # its calls count under their own name
        self.logs = self._lazy(_LOGS)
        self.sockets = self._lazy(_SOCKETS, websocket_endpoint)
        self.bedrock = self._lazy(_BEDROCK, counted=False)
        self.secrets = self._lazy(_SECRETS)
        self.ssm = self._lazy(_SSM)

    def _lazy(self, tuning: _Tuning, endpoint: str = "", *, counted: bool = True) -> Any:
        return LazyClient(lambda: self._make(tuning, endpoint, counted))

    def _make(self, tuning: _Tuning, endpoint: str, counted: bool) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            **(_SIGNS if tuning.service == "s3" else {}),
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=tuning.read_s,
            retries={"mode": "standard", "total_max_attempts": tuning.attempts},
            max_pool_connections=tuning.pool,
            tcp_keepalive=True,
        )
        options: dict[str, Any] = {**self._options, "config": config}
        if endpoint:
            options["endpoint_url"] = endpoint
        with self._lock:  # making clients from one session is not thread safe
            self._session = self._session or boto3.session.Session()
            client = self._session.client(tuning.service, **options)
        if counted:
            self.counter.attach(client, tuning.service)
        return client
