"""Functions of the local stack that die, wait or repeat a call where a test asks for it.

The deployed code is the very same; only the worker's bootstrap puts a module of the tests
(`kit/worker/faulty.py`) before it. What is deployed otherwise knows nothing of all this.
"""

from __future__ import annotations

import io
import json
import shlex
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joinery_cli.local.deploy import STAGE
from joinery_cli.packaging import Target, build
from joinery_cli.project import find_project
from kit.people import until

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

WORKER = Path(__file__).parent / "worker"
FUNCTIONS = ("run_node", "lifecycle", "sweeper", "websocket", "http_api")
ALIAS = "live"

FAULTY = """\
#!/bin/sh
cd {bundle} || exit 1
LAMBDA_TASK_ROOT=$PWD
export LAMBDA_TASK_ROOT
unset PYTHONHOME
PYTHONPATH={worker} JOINERY_FAULTS={folder} exec {python} -S -u -m awslambdaric faulty.handler
"""
SOUND = "#!/bin/sh\nexec {bundle}/bootstrap\n"


@dataclass(frozen=True)
class Fault:
    """Something that happens once in a run.

    Attributes:
        when: `before` or `after` a call; `twice` lets the call be sent twice.
        point: What the call does, see `kit/worker/faulty.py`.
        node: The node whose invocation it is in; none in other functions.
        nth: The how manieth such call of the invocation.
        do: `kill` or `wait`.
        seconds: How long to wait.
        function: The function.
    """

    when: str
    point: str
    node: str = ""
    nth: int = 1
    do: str = "kill"
    seconds: float = 0.0
    function: str = "run-node"

    def __str__(self) -> str:
        times = f"{self.nth}. " if self.nth > 1 else ""
        what = "" if self.do == "kill" or self.when == "twice" else f" {self.do}"
        return f"{self.function} {self.node}: {self.when} {times}{self.point}{what}"


@dataclass(frozen=True)
class Faulty:
    """Where faults are asked for."""

    folder: Path

    def arm(self, run_id: str, *faults: Fault) -> None:
        """Lets faults happen in a run, which need not exist yet, and notes its points."""
        place = self.folder / run_id
        place.mkdir(parents=True, exist_ok=True)
        for number, fault in enumerate(faults, len(list(place.iterdir()))):
            unseen = place / f".{number}"
            unseen.write_text(json.dumps(asdict(fault)))
            unseen.rename(place / f"{number}.json")

    def happened(self, run_id: str) -> int:
        """Returns how many faults of a run have happened."""
        return len(list((self.folder / run_id).glob("*.done")))

    def trace(self, run_id: str, node: str | None = None) -> list[dict[str, Any]]:
        """Returns the points that were passed in a run, or at one node of it, in order."""
        names = ("pid", "function", "node", "point", "nth", "at")
        path = self.folder / run_id / "trace"
        lines = path.read_text().splitlines() if path.exists() else []
        rows = [dict(zip(names, json.loads(line), strict=True)) for line in lines]
        return [row for row in rows if node in (None, row["node"])]

    def anywhere(self, run_id: str, function: str, node: str = "") -> list[tuple[Fault, ...]]:
        """Returns a death before and after each call that a function made in a run."""
        rows = [row for row in self.trace(run_id, node) if row["function"] == function]
        calls = [(row["point"], row["nth"]) for row in rows]
        # What else is posted is as time would have it.
        calls = [(p, nth) for p, nth in calls if not p.startswith("post ") or "post run." in p]
        assert len(calls) >= 5, calls
        return [
            (Fault(when, point, node, nth, function=function),)
            for point, nth in dict.fromkeys(calls)
            for when in ("before", "after")
        ]


@contextmanager
def faulty_functions(stack: LocalStack, folder: Path) -> Iterator[Faulty]:
    """Puts the module before the functions of a stack, and takes it away in the end."""
    client = stack.client("lambda")
    sound = client.get_alias(FunctionName=name_of("run_node"), Name=ALIAS)["FunctionVersion"]
    names = {
        "worker": shlex.quote(str(WORKER)),
        "folder": shlex.quote(str(folder)),
        "python": shlex.quote(sys.executable),
    }
    for function in FUNCTIONS:
        update(client, function, FAULTY.format(bundle=bundle_of(function), **names))
    version = client.publish_version(FunctionName=name_of("run_node"))["Version"]
    point(client, version)
    try:
        yield Faulty(folder)
    finally:
        point(client, sound)
        client.delete_function(FunctionName=name_of("run_node"), Qualifier=version)
        for function in FUNCTIONS:
            update(client, function, SOUND.format(bundle=bundle_of(function)))


def name_of(function: str) -> str:
    return f"joinery-{STAGE}-{function.replace('_', '-')}"


def bundle_of(function: str) -> str:
    return shlex.quote(str(build(find_project(), function, Target.for_this_machine()).path))


def update(client: Any, function: str, bootstrap: str) -> None:
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o755 << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(entry, bootstrap)
    client.update_function_code(FunctionName=name_of(function), ZipFile=packed.getvalue())

    def updated() -> bool:
        found = client.get_function_configuration(FunctionName=name_of(function))
        return bool(found["LastUpdateStatus"] == "Successful")

    until(updated)


def point(client: Any, version: str) -> None:
    client.update_alias(FunctionName=name_of("run_node"), Name=ALIAS, FunctionVersion=version)
