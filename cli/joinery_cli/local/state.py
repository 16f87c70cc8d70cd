"""What is known of the local stack between two commands: one JSON file, readable by its owner."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from joinery_cli.local.emulator import REGION
from joinery_cli.local.processes import Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class LocalStack:
    """A local stack: where it is and how to speak to it.

    Attributes:
        home: Folder with its state and logs.
        services: Its processes.
        access_key: Key id of the emulator's root user.
        secret_key: That user's secret.
        deployed: Hash of what is deployed; empty before the first deployment.
        outputs: Outputs of template.yaml, such as `StateTableName`.
        token: Token of the owner `dev` for both APIs.
        token_expires_at: When that token ends, in epoch seconds.
        model_base_url: OpenAI-compatible API the stack uses by default; empty without one.
        model_name: Name of the model there.
        ready: Whether everything was deployed and warmed up.
    """

    home: Path
    services: tuple[Service, ...] = ()
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    deployed: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    token_expires_at: int = 0
    model_base_url: str = ""
    model_name: str = ""
    ready: bool = False

    @property
    def endpoint(self) -> str:
        """Address of the emulated AWS services."""
        return f"http://{self.address}"

    @property
    def address(self) -> str:
        """`host:port` of the emulator."""
        emulator = self.service("emulator")
        return f"127.0.0.1:{emulator.port}" if emulator else ""

    @property
    def http_api_url(self) -> str:
        """Base address of the HTTP API, without a slash at the end."""
        return self.outputs["HttpApiUrl"]

    @property
    def websocket_url(self) -> str:
        """Address of the WebSocket API."""
        return self.outputs["WebSocketUrl"]

    def service(self, name: str) -> Service | None:
        """Returns the process of that name, if it was started."""
        return next((service for service in self.services if service.name == name), None)

    def with_service(self, service: Service) -> LocalStack:
        """Returns the stack with a process added, in place of one of the same name."""
        others = tuple(known for known in self.services if known.name != service.name)
        return replace(self, services=(*others, service))

    def credentials(self) -> dict[str, str]:
        """Returns the environment variables that lead an AWS SDK to this stack, as root."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def client(self, service: str, endpoint: str | None = None) -> Any:
        """Returns a boto3 client of the emulated service, as root.

        Args:
            service: Its name in boto3.
            endpoint: Its address, where it is not that of the emulator.
        """
        return _client(service, endpoint or self.endpoint, self.access_key, self.secret_key)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON-ready form that is stored."""
        return {
            "format": _FORMAT,
            "ready": self.ready,
            "endpoint": self.endpoint,
            "http_api_url": self.outputs.get("HttpApiUrl", ""),
            "websocket_url": self.outputs.get("WebSocketUrl", ""),
            "token": self.token,
            "token_expires_at": self.token_expires_at,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "deployed": self.deployed,
            "outputs": dict(self.outputs),
            "model_base_url": self.model_base_url,
            "model_name": self.model_name,
            "services": [service.to_dict() for service in self.services],
        }


@lru_cache(maxsize=64)
def _client(service: str, endpoint: str, access_key: str, secret_key: str) -> Any:
    import boto3
    from botocore.config import Config

    # A session of its own: the shared one is not safe between threads, clients are.
    session: Any = boto3.Session(
        aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=REGION
    )
    return session.client(
        service,
        endpoint_url=endpoint,
        # An empty mapping: a proxy of the environment never stands before loopback.
        config=Config(proxies={}, read_timeout=120, retries={"max_attempts": 2}),
    )


def load(home: Path) -> LocalStack | None:
    """Returns the stack that `home` describes, running or not; None when there is none."""
    try:
        data = json.loads((home / "stack.json").read_text())
        if data["format"] != _FORMAT:
            return None
        return LocalStack(
            home=home,
            services=tuple(Service.from_dict(each) for each in data["services"]),
            **{
                name: data[name]
                for name in (
                    *("access_key", "secret_key", "deployed", "outputs", "token"),
                    *("token_expires_at", "model_base_url", "model_name", "ready"),
                )
            },
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(stack: LocalStack) -> LocalStack:
    """Stores the stack's state, in one step and for its owner alone; returns the stack."""
    stack.home.mkdir(parents=True, exist_ok=True)
    new = stack.home / "stack.json.new"
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(stack.to_dict(), file, indent=2)
    new.replace(stack.home / "stack.json")
    return stack


def forget(home: Path) -> None:
    """Removes the stored state."""
    with suppress(FileNotFoundError):
        (home / "stack.json").unlink()


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Lets one `up` or `down` work on `home` at a time; the others wait."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
