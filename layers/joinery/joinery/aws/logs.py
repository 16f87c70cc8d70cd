"""What a run called, summed from the functions' logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from joinery.aws.errors import aws_errors, refused_as
from joinery.errors import PermanentInternal, Unavailable
from joinery.runs.cost import INVOCATION_MS, READ_UNITS, WRITE_UNITS

MARK: Final = "aws_calls"
"""Name of the field that holds the calls of one invocation."""

TOOK: Final = "took_ms"
"""Name of the field that holds its time in milliseconds."""

UNITS: Final = "units"
"""Name of the field that holds the units that DynamoDB took: `{read, write}`."""


def calls_line(run_id: str, calls: Mapping[str, int], **facts: Any) -> str:
    """Returns the line of JSON that an invocation prints when it ends.

    Args:
        run_id: The run it worked for.
        calls: Calls by name, as `CallCounter.snapshot` gives them.
        facts: What else the line tells, such as the node.
    """
    return json.dumps({"run_id": run_id, **facts, MARK: dict(calls)}, separators=(",", ":"))


class CallLogs:
    """Reads these lines.

    Args:
        client: CloudWatch Logs client.
        groups: Names of the functions' log groups.
    """

    def __init__(self, client: Any, groups: Sequence[str]) -> None:
        self._client, self._groups = client, groups

    def calls_of_run(self, run_id: str, since: float) -> dict[str, float]:
        """Returns a run's calls by name, sorted; lines appear seconds after an invocation.

        The time of its invocations and the units of DynamoDB stand among them, see `INVOCATION_MS`
        and `WRITE_UNITS`.

        Args:
            run_id: The run.
            since: Epoch seconds before which there are no lines, such as the run's start.

        Raises:
            Unavailable: CloudWatch Logs is throttled or does not answer.
        """
        total: dict[str, float] = {}
        for group in self._groups:
            for message in self._messages(group, run_id, since):
                for name, count in _calls(message, run_id).items():
                    total[name] = total.get(name, 0) + count
        return dict(sorted(total.items()))

    def _messages(self, group: str, run_id: str, since: float) -> Iterator[str]:
        more: dict[str, Any] = {}
        while True:
            try:
                with aws_errors("FilterLogEvents", Unavailable):
                    page = self._client.filter_log_events(
                        logGroupName=group,
                        filterPattern=f'"{run_id}"',
                        startTime=int(since * 1000),
                        **more,
                    )
            except PermanentInternal as error:
                if refused_as(error, "ResourceNotFoundException"):
                    return  # a function that never ran has no group
                raise
            for event in page["events"]:
                yield event["message"]
            if not page.get("nextToken"):
                return
            more = {"nextToken": page["nextToken"]}


def _calls(message: str, run_id: str) -> dict[str, float]:
    """Returns the calls that a log line tells of, none when it is another kind of line."""
    try:
        line = json.loads(message)
        # Lambda wraps what went through `logging` into an object of its own.
        if isinstance(line, dict) and isinstance(line.get("message"), str):
            line = json.loads(line["message"])
    except ValueError:
        return {}
    if not isinstance(line, dict) or line.get("run_id") != run_id:
        return {}
    calls = line.get(MARK)
    if not isinstance(calls, dict):
        return {}
    took, units = line.get(TOOK), line.get(UNITS)
    counts: dict[str, float] = dict(calls)
    if isinstance(took, int):
        counts[INVOCATION_MS] = took
    if isinstance(units, dict):
        counts |= {READ_UNITS: units["read"], WRITE_UNITS: units["write"]}
    return counts
