"""The environment that the emulator, and the Lambda workers it starts, run in."""

from __future__ import annotations

import os
from typing import Final

from joinery.llm.keys import VARIABLES
from joinery.tools.services import OTHER_NAMES, VARIABLE

REGION: Final = "us-east-1"

_KEPT: Final = {"PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy"}


def environment(*, port: int, home: str, access_key: str, secret_key: str) -> dict[str, str]:
    """Returns the whole environment of the emulator; its Lambda workers inherit it.

    Args:
        port: Where it listens, on 127.0.0.1.
        home: Folder for everything it writes.
        access_key: Key id of the root user; IAM is enforced for everybody else.
        secret_key: That user's secret.
    """
    kept = {name: value for name, value in os.environ.items() if _is_kept(name)}
    return kept | {
        "HOME": home,
        "TMPDIR": home,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AUTH": "true",
        "LOG_LEVEL": "WARNING",
        # A worker that was warmed up stays.
        "LAMBDA_WARM_TTL_SECONDS": "86400",
        # Every Task of every execution holds one of them.
        "MINISTACK_WORKER_THREADS": "128",
        # What it would start or look for by itself.
        "DOCKER_HOST": "unix:///nonexistent",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }


def _is_kept(name: str) -> bool:
    """Whether workers need a variable: keys of models and secrets of tools are among these."""
    return (
        name in _KEPT
        or any(name in names for names in VARIABLES.values())
        or name in OTHER_NAMES.values()
        or name.startswith(VARIABLE)
    )
