"""Builds the packages of a workflow for an installation and sends them there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from joinery.errors import InvalidRequest, Unavailable
from joinery.packages.build import Builder, Tell
from joinery.packages.model import Package
from joinery.packages.requirements import Needed, needed_by
from joinery.packages.target import PackageTarget

SEND_S: Final = 300.0
TRIES: Final = 3
_PAUSE_S: Final = 0.5


class Sender(Protocol):
    """What sending packages needs of a client."""

    def package_target(self) -> dict[str, Any]:
        """Returns `{python, platform}`."""
        ...

    def offer_package(self, sha256: str, size: int) -> dict[str, Any]:
        """Returns `{stored, upload}`."""
        ...


class AsyncSender(Protocol):
    """The same of a client that is awaited."""

    async def package_target(self) -> dict[str, Any]:
        """See `Sender.package_target`."""
        ...

    async def offer_package(self, sha256: str, size: int) -> dict[str, Any]:
        """See `Sender.offer_package`."""
        ...


def needed_in(source: str | Mapping[str, Any]) -> list[Needed]:
    """Returns what the code of a workflow file requires. Raises: InvalidWorkflow."""
    text = source if isinstance(source, str) else json.dumps(source)
    if "requirements" not in text:
        return []
    from joinery.workflow.source import load
    from joinery.workflow.validation import validate

    return list(needed_by(validate(load(text)).require()).values())


def send_packages(
    sender: Sender,
    needed: Collection[Needed],
    *,
    upgrade: bool = False,
    tell: Tell = lambda _: None,
) -> list[dict[str, Any]]:
    """Builds packages and sends those that are not there yet.

    Args:
        sender: A client of the installation.
        needed: What is required.
        upgrade: Whether to resolve again what was resolved before.
        tell: Is told what takes its time, a line each.

    Returns:
        What `publish` takes as `packages`.

    Raises:
        RequirementsUnsolvable: Nothing meets some of them there.
        IndexUnavailable: The package index does not answer.
        PackageTooLarge: What they come to passes a limit.
        Unavailable: The installation does not answer, or uv is not installed.
    """
    if not needed:
        return []
    target = PackageTarget.from_dict(sender.package_target())
    builder = Builder(target, tell=tell, upgrade=upgrade)
    packages = []
    for one in needed:
        built = builder.build(one)
        offer = sender.offer_package(built.package.sha256, built.package.bytes)
        if not offer["stored"]:
            tell(sending(built.package))
            send(built.file, offer["upload"])
        packages.append(built.package.to_dict())
    return packages


async def send_packages_async(
    sender: AsyncSender,
    needed: Collection[Needed],
    *,
    upgrade: bool = False,
    tell: Tell = lambda _: None,
) -> list[dict[str, Any]]:
    """See `send_packages`; builds and sends in threads."""
    if not needed:
        return []
    target = PackageTarget.from_dict(await sender.package_target())
    builder = Builder(target, tell=tell, upgrade=upgrade)
    packages = []
    for one in needed:
        built = await asyncio.to_thread(builder.build, one)
        offer = await sender.offer_package(built.package.sha256, built.package.bytes)
        if not offer["stored"]:
            tell(sending(built.package))
            await asyncio.to_thread(send, built.file, offer["upload"])
        packages.append(built.package.to_dict())
    return packages


def sending(package: Package) -> str:
    """Returns the line that says that a package is sent."""
    return f"sending packages ({package.bytes / 1_048_576:.1f} MB): {', '.join(package.resolved)}"


def send(
    file: Path, upload: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Sends a zip to the address that was given for it.

    Raises:
        InvalidRequest: It is refused.
        Unavailable: The place does not answer.
    """
    import httpx

    from joinery.client.request import is_loopback

    body, said = file.read_bytes(), ""
    with httpx.Client(timeout=SEND_S, trust_env=not is_loopback(upload["url"])) as http:
        for attempt in range(1, TRIES + 1):
            try:
                answer = http.put(upload["url"], content=body, headers=upload["headers"])
            except httpx.TransportError as error:
                said = type(error).__name__  # its message may have the address, which is a secret
            else:
                if answer.is_success:
                    return
                said = f"status {answer.status_code}"
                if not answer.is_server_error:
                    raise InvalidRequest(f"the packages were refused: {said}")
            if attempt < TRIES:
                sleep(_PAUSE_S * attempt)
    raise Unavailable(f"the packages could not be sent: {said}")
