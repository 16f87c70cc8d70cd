"""Which interpreter a bundle is for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

AWS_PYTHON: Final = "3.13"
"""Version of the `python3.13` runtime, the default of template.yaml."""

_PLATFORMS: Final = {
    # python3.13 runs on Amazon Linux 2023, whose glibc is 2.34.
    # https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
    "arm64": "aarch64-manylinux_2_28",
    "x86_64": "x86_64-manylinux_2_28",
}

ARCHITECTURES: Final = tuple(_PLATFORMS)


@dataclass(frozen=True, slots=True)
class Target:
    """The interpreter, processor and system that a bundle runs on.

    Attributes:
        name: Folder name of its bundles.
        install_options: What `uv pip install` needs to choose the wheels.
        local: Whether the bundle starts by a bootstrap with this very Python.
    """

    name: str
    install_options: tuple[str, ...]
    local: bool

    @classmethod
    def for_aws(cls, architecture: str, python_version: str = AWS_PYTHON) -> Target:
        """Returns the target of the managed Python runtime on `arm64` or `x86_64`."""
        return cls(
            name=f"{architecture}-python{python_version}",
            install_options=(
                "--python-version",
                python_version,
                "--python-platform",
                _PLATFORMS[architecture],
                "--only-binary",
                ":all:",
            ),
            local=False,
        )

    @classmethod
    def for_this_machine(cls) -> Target:
        """Returns the target of the laptop: the interpreter that runs this line."""
        return cls(
            name=f"local-{sys.implementation.cache_tag}",
            install_options=("--python", sys.executable),
            local=True,
        )
