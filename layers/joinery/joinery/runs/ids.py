"""Ids of runs and workflows."""

from __future__ import annotations

import hashlib
import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32, lower case: https://www.crockford.com/base32.html"""


def new_run_id(now: float | None = None) -> str:
    """Returns `run_` and a ULID: 48 bits of milliseconds, 80 random bits; sorts by time."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    return "run_" + _base32((milliseconds << 80) | int.from_bytes(os.urandom(10)))


def run_id_for_key(owner: str, workflow_id: str, key: str) -> str:
    """Returns the run id that an idempotency key always gives for this owner and workflow.

    Such an id does not sort by time; lists sort by the time a run was made.
    """
    digest = hashlib.sha256("\0".join((owner, workflow_id, key)).encode()).digest()
    return "run_" + _base32(int.from_bytes(digest[:16]))


def child_run_id(run_id: str, node_ord: int, path: str, ended: int) -> str:
    """Returns the id of a node's child run, after so many of its child runs have ended.

    It depends on nothing else: whoever comes after a crash finds the same run.
    """
    place = "\0".join((run_id, str(node_ord), path, str(ended)))
    return "run_" + _base32(int.from_bytes(hashlib.sha256(place.encode()).digest()[:16]))


def tool_run_id(key: str, ended: int = 0) -> str:
    """Returns the id of the run that a tool begins, by the key of its call.

    Args:
        key: The key.
        ended: How many of the call's runs have ended with the run around them.
    """
    place = f"tool\0{key}" + (f"\0{ended}" if ended else "")
    return "run_" + _base32(int.from_bytes(hashlib.sha256(place.encode()).digest()[:16]))


def workflow_id_for(owner: str, name: str) -> str:
    """Returns the id of an owner's workflow of this name."""
    digest = hashlib.sha256(f"{owner}\0{name}".encode()).hexdigest()
    return f"wf_{digest[:24]}"


def _base32(number: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
