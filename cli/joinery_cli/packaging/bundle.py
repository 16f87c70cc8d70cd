"""Puts the parts of a function together, cached by what they are made from."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from joinery_cli.packaging.errors import PackagingFailed
from joinery_cli.packaging.install import compile_bytecode, install
from joinery_cli.packaging.trim import SERVICES, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from joinery_cli.packaging.target import Target

FUNCTIONS: Final = {
    "HttpApiFunction": "http_api",
    "WebSocketFunction": "websocket",
    "AuthorizerFunction": "authorizer",
    "RunCodeFunction": "run_code",
    "RunNodeFunction": "run_node",
    "PublisherFunction": "publisher",
    "LifecycleFunction": "lifecycle",
    "SweeperFunction": "sweeper",
}
"""Logical id in template.yaml → folder below functions/."""

SIZE_LIMIT: Final = 250 * 1024 * 1024
"""Unzipped size of a function.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_FORMAT: Final = "1"
"""Change it when bundles are built differently from the same sources."""

_UNUSED_AFTER_S: Final = 7 * 86_400

# Functions with the same packages are built side by side: the first makes them.
_making: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)

_BOOTSTRAP: Final = """\
#!/bin/sh
# Starts the function with the Lambda runtime client and nothing but the
# packages of this folder: -S leaves out those of the development environment.
cd "$(dirname "$0")" || exit 1
LAMBDA_TASK_ROOT=$PWD
export LAMBDA_TASK_ROOT
unset PYTHONPATH PYTHONHOME
exec {python} -S -u -m awslambdaric "$_HANDLER"
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A function ready to be uploaded.

    Attributes:
        function: Folder name below functions/.
        path: Folder with everything in it.
        digest: Hash of what it was made from, in hexadecimal.
        size: Bytes of its files.
    """

    function: str
    path: Path
    digest: str
    size: int


def build(project: Path, function: str, target: Target) -> Bundle:
    """Builds a function, or finds it built already.

    Args:
        project: Folder with template.yaml, functions/, layers/ and requirements/.
        function: Folder name below functions/.
        target: Which interpreter it is for.

    Raises:
        PackagingFailed: There is no such function, its packages cannot be
            installed, or it is larger than Lambda takes.
    """
    source = project / "functions" / function
    library = project / "layers" / "joinery" / "joinery"
    lock = project / "requirements" / "dev.lock"
    if not (source / "requirements.txt").is_file():
        raise PackagingFailed(f"there is no function {function} in {source.parent}")

    need = (_FORMAT, target.name, sys.executable if target.local else "", *target.install_options)
    names = (source / "requirements.txt").read_text()
    packages_digest = _digest((*need, names, *sorted(SERVICES)), [lock], project)
    home = project / "build" / target.name
    packages = _once(
        home / f"packages-{packages_digest}",
        lambda folder: _install_packages(source / "requirements.txt", lock, target, folder),
    )
    digest = _digest((packages_digest,), [*_sources(source), *_sources(library)], project)
    path = _once(
        home / f"{function}-{digest}",
        lambda folder: _assemble(folder, packages, source, library, target),
    )
    size = size_of(path)
    if size > SIZE_LIMIT:
        raise PackagingFailed(f"{function} is {size:,} bytes; Lambda takes {SIZE_LIMIT:,}")
    _forget_unused(home)
    return Bundle(function=function, path=path, digest=digest, size=size)


def export(bundle: Bundle, into: Path) -> None:
    """Copies a bundle into a folder, as `sam build` wants it."""
    shutil.copytree(bundle.path, into, dirs_exist_ok=True)


def _install_packages(requirements: Path, lock: Path, target: Target, folder: Path) -> None:
    install(requirements, lock, target, folder)
    if target.local:
        compile_bytecode(folder)


def _assemble(folder: Path, packages: Path, source: Path, library: Path, target: Target) -> None:
    # Hard links: a bundle has some thousand files that no two bundles change.
    shutil.copytree(packages, folder, dirs_exist_ok=True, copy_function=_link)
    ours = folder / "joinery"
    for file in _sources(library):
        _copy(file, ours / file.relative_to(library))
    for file in _sources(source):
        if file.name != "requirements.txt":
            _copy(file, folder / file.relative_to(source))
    if target.local:
        compile_bytecode(ours)
        bootstrap = folder / "bootstrap"
        bootstrap.write_text(_BOOTSTRAP.format(python=shlex.quote(sys.executable)))
        bootstrap.chmod(0o755)


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Returns `folder`, made by `make` if it is not there; safe against others doing the same."""
    with _making[folder]:
        if folder.is_dir():
            os.utime(folder)
        else:
            _make_at_once(folder, make)
    return folder


def _make_at_once(folder: Path, make: Callable[[Path], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        make(unfinished)
        unfinished.chmod(0o755)
        with suppress(OSError):  # somebody else was first, with the same content
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _forget_unused(home: Path) -> None:
    before = time.time() - _UNUSED_AFTER_S
    for folder in home.iterdir():
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def _digest(words: tuple[str, ...], files: list[Path], project: Path) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for file in files:
        digest.update(f"\0{file.relative_to(project)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:20]


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            yield path


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)


def _link(source: str, to: str) -> None:
    try:
        os.link(source, to)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, to)
