"""`python -m joinery_cli` is `joinery`."""

from __future__ import annotations

import sys

from joinery_cli.main import run

if __name__ == "__main__":
    sys.exit(run())
