"""Small wheels in a folder, and uv told to look nowhere else."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest


def wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
) -> Path:
    """Writes a wheel; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    about = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    held = {
        **files,
        f"{about}/METADATA": metadata,
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    held[f"{about}/RECORD"] = "".join(f"{file},,\n" for file in [*held, f"{about}/RECORD"])
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in held.items():
            archive.writestr(zipfile.ZipInfo(file, (2020, 1, 1, 0, 0, 0)), text)
    return path


def greeter(folder: Path, version: str = "1.0") -> None:
    """Writes `greeter`, which greets with the help of `manners`."""
    hello = "from manners import polite\n\ndef hello(who):\n    return polite('Hello, ' + who)\n"
    wheel(folder, "greeter", version, {
        "greeter/__init__.py": hello + f"VERSION = '{version}'\n",
        "greeter/data/words.txt": "hello\n",
    }, requires=["manners>=1"])  # fmt: skip
    wheel(folder, "manners", "1.2", {"manners.py": "def polite(text):\n    return text + '!'\n"})


def only_from(folder: Path, home: Path, patch: pytest.MonkeyPatch) -> None:
    """Lets packages be built of the wheels in a folder, and be kept in another."""
    patch.setenv("UV_NO_INDEX", "1")
    patch.setenv("UV_FIND_LINKS", str(folder))
    patch.setenv("JOINERY_PACKAGES_HOME", str(home))
