"""Removes from installed packages what a Lambda function never reads."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SERVICES: Final = frozenset(
    {
        "apigatewaymanagementapi",
        "bedrock-runtime",
        "dynamodb",
        "lambda",
        "logs",
        "s3",
        "secretsmanager",
        "ssm",
        "stepfunctions",
        "sts",
    }
)
"""The AWS services that functions call; botocore carries the models of 400 more."""

_NEVER_READ: Final = (
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
    ".lock",
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
)
_FOLDERS: Final = ("bin", "**/__pycache__", "**/tests", "boto3/examples", "*.dist-info/licenses")


def trim(packages: Path) -> None:
    """Trims a folder made by `uv pip install --target`, in place.

    The `METADATA` files stay: packages ask for their own version by it.
    """
    for pattern in _FOLDERS:
        for folder in list(packages.glob(pattern)):
            shutil.rmtree(folder, ignore_errors=True)
    for pattern in _NEVER_READ:
        for file in packages.glob(pattern):
            file.unlink()
    for data in (packages / "botocore" / "data", packages / "boto3" / "data"):
        if data.is_dir():
            _keep_services(data)


def size_of(folder: Path) -> int:
    """Returns the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _keep_services(data: Path) -> None:
    for entry in data.iterdir():
        # Plain files are the endpoints, partitions and retry rules of every service.
        if entry.is_dir() and entry.name not in SERVICES:
            shutil.rmtree(entry)
