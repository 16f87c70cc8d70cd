"""The functions' logs."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from joinery.errors import NotFound
from joinery_cli.local.deploy import STAGE
from joinery_cli.local.stack import current

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PREFIX: Final = f"/aws/lambda/joinery-{STAGE}-"
_POLL_S: Final = 1.0
_OVERLAP_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a function.

    Attributes:
        function: Its short name, such as `run-node`.
        timestamp: When it was received, in epoch milliseconds.
        message: The line.
    """

    function: str
    timestamp: int
    message: str


def logs(
    *, follow: bool = False, function: str | None = None, home: Path | None = None
) -> Iterator[LogLine]:
    """Yields the lines of all functions in the order of their time, oldest first.

    The emulator hands over what a function printed when the invocation ends.

    Args:
        follow: Go on with new lines until the caller stops.
        function: Only this one, by its short name (`run-node` or `run_node`).
        home: Folder of the stack; default: the project's own.

    Raises:
        LocalStackDown: The stack is not running.
        NotFound: There is no such function.
    """
    client = current(home=home).client("logs")
    groups = _groups(client, function)
    seen: set[tuple[object, ...]] = set()
    since = 0
    while True:
        new = [found for found in _read(client, groups, since) if found[0] not in seen]
        for key, line in sorted(new, key=lambda found: found[1].timestamp):
            seen.add(key)
            yield line
            since = max(since, line.timestamp - _OVERLAP_MS)
        if not follow:
            return
        time.sleep(_POLL_S)


def _read(
    client: Any, groups: list[str], since: int
) -> Iterator[tuple[tuple[object, ...], LogLine]]:
    """Yields the lines since a time, each with a key that is the same when it is read again.

    The emulator gives its events no ids, and a function may print a line twice.
    """
    repeats: Counter[tuple[object, ...]] = Counter()
    for group in groups:
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=since
        )
        for event in (event for page in pages for event in page["events"]):
            line = LogLine(
                group.removeprefix(_PREFIX), event["timestamp"], event["message"].rstrip("\n")
            )
            key = (event["logStreamName"], line.timestamp, line.message)
            repeats[key] += 1
            yield (*key, repeats[key]), line


def _groups(client: Any, function: str | None) -> list[str]:
    groups = [
        group["logGroupName"]
        for page in client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=_PREFIX)
        for group in page["logGroups"]
    ]
    if function is None:
        return groups
    wanted = _PREFIX + function.replace("_", "-")
    if wanted not in groups:
        names = ", ".join(group.removeprefix(_PREFIX) for group in groups)
        raise NotFound(f"there is no function {function}; there are {names}")
    return [wanted]
