"""Builds what a Lambda function carries: its own packages, the library and its handler.

The same code serves `sam build` (through `functions/Makefile`) and `joinery
local up`. Versions and hashes come from `requirements/dev.lock`; a function's
`requirements.txt` has names only. Parts are cached by the hash of what they
are made from, so an unchanged function costs nothing.
"""

from __future__ import annotations

from joinery_cli.packaging.bundle import FUNCTIONS, Bundle, build, export
from joinery_cli.packaging.errors import PackagingFailed
from joinery_cli.packaging.target import Target

__all__ = ["FUNCTIONS", "Bundle", "PackagingFailed", "Target", "build", "export"]
