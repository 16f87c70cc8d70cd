"""The local stack: the product's own template on an emulator of AWS, on this machine."""

from __future__ import annotations

from joinery_cli.local.doctor import Check, doctor
from joinery_cli.local.errors import LocalStackDown, LocalStackFailed
from joinery_cli.local.logs import LogLine, logs
from joinery_cli.local.stack import StackStatus, current, down, status, up
from joinery_cli.local.state import LocalStack

__all__ = [
    "Check",
    "LocalStack",
    "LocalStackDown",
    "LocalStackFailed",
    "LogLine",
    "StackStatus",
    "current",
    "doctor",
    "down",
    "logs",
    "status",
    "up",
]
