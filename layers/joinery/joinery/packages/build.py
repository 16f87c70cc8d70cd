"""Builds packages on their author's machine, and keeps them there.

What requirements came to is written down when they are first built: from then on the same
requirements give the same versions, until they are resolved again on purpose.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from joinery import limits
from joinery.packages.errors import PackageTooLarge
from joinery.packages.model import Package
from joinery.packages.pack import modules_in, pack
from joinery.packages.resolve import install, locked_versions, resolve
from joinery.packages.target import PackageTarget
from joinery.packages.unpacked import Unpacked

if TYPE_CHECKING:
    from joinery.packages.requirements import Needed
    from joinery.sandbox.types import PackageRef

HOME_VARIABLE: Final = "JOINERY_PACKAGES_HOME"
"""Where packages are kept, in place of the user's cache folder."""

Tell = Callable[[str], None]

_FORMAT: Final = 1
"""Change it when zips are made differently from the same files."""


@dataclass(frozen=True, slots=True)
class Built:
    """A package that is on this machine.

    Attributes:
        package: What it is.
        file: Its zip.
    """

    package: Package
    file: Path


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns the folder where packages are kept."""
    if said := environ.get(HOME_VARIABLE):
        return Path(said)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "joinery" / "packages"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "joinery" / "packages"


class Builder:
    """Builds packages for one target.

    Args:
        target: For where.
        folder: Where they are kept.
        tell: Is told what takes its time, a line each.
        upgrade: Whether to resolve again what was resolved before.
    """

    def __init__(
        self,
        target: PackageTarget,
        *,
        folder: Path | None = None,
        tell: Tell = lambda _: None,
        upgrade: bool = False,
    ) -> None:
        self.target = target
        self._home, self._tell, self._upgrade = folder or home(), tell, upgrade

    def build(self, needed: Needed) -> Built:
        """Returns the package that meets requirements, built now or before.

        Raises:
            RequirementsUnsolvable: Nothing meets them.
            IndexUnavailable: The package index does not answer.
            PackageTooLarge: What they come to passes a limit.
            Unavailable: uv is not installed.
        """
        record = self._home / "locks" / f"{needed.key}-{self.target.python}-{self.target.platform}"
        before = None if self._upgrade else _read(record)
        if before is not None:
            package = Package.from_dict(before["package"])
            if _has(self._zip(package.sha256), package.bytes):
                return Built(package, self._zip(package.sha256))
        self._tell(f"building packages for {self.target}: {', '.join(needed.requirements)} …")
        return self._made(needed, record, before["lock"] if before else "")

    def _made(self, needed: Needed, record: Path, lock: str) -> Built:
        (self._home / "zips").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="joinery-build-") as name:
            folder = Path(name)
            into = folder / "installed"
            lock = lock or resolve(needed.requirements, self.target, folder)
            versions = locked_versions(lock)
            if len(versions) > limits.PACKAGES_RESOLVED_MAX:
                raise PackageTooLarge(
                    f"the requirements come to {len(versions)} packages; the limit is "
                    f"{limits.PACKAGES_RESOLVED_MAX}",
                    limit=limits.PACKAGES_RESOLVED_MAX,
                    actual=len(versions),
                )
            install(lock, needed.requirements, self.target, folder, into)
            sha256, size = pack(into, folder / "packed.zip")
            package = Package(needed.requirements, sha256, size, versions, modules_in(into))
            _place(folder / "packed.zip", self._zip(sha256))
        _write(record, {"format": _FORMAT, "package": package.to_dict(), "lock": lock})
        return Built(package, self._zip(sha256))

    @contextmanager
    def folder(self, ref: PackageRef) -> Iterator[Path]:
        """Gives the unpacked files of a package that was built here; see `SandboxCodeRunner`.

        Raises:
            PermanentCodePackage: It was not, or is damaged.
        """
        from joinery.code_errors import PermanentCodePackage
        from joinery.packages.errors import PackageRefused

        def fetch(into: IO[bytes]) -> None:
            with self._zip(ref.sha256).open("rb") as file:
                shutil.copyfileobj(file, into)

        kept = Unpacked(self._home / "unpacked")
        with ExitStack() as held:
            try:
                folder = held.enter_context(kept.held(ref.sha256, ref.bytes, fetch))
            except (PackageRefused, PackageTooLarge) as error:
                raise PermanentCodePackage(error.message) from None
            except FileNotFoundError:
                raise PermanentCodePackage("the packages of the code were not built") from None
            yield folder

    def _zip(self, sha256: str) -> Path:
        return self._home / "zips" / f"{sha256}.zip"


def _read(record: Path) -> Any:
    """Returns what was written down, None where there is nothing that can be read."""
    try:
        found = json.loads(record.read_text("utf-8"))
        Package.from_dict(found["package"])
        return found if found["format"] == _FORMAT and found["lock"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(record: Path, data: Mapping[str, Any]) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=record.parent)
    with os.fdopen(number, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
    Path(name).replace(record)


def _place(made: Path, path: Path) -> None:
    """Moves a file to where others look for it, at once."""
    number, name = tempfile.mkstemp(dir=path.parent)
    os.close(number)
    shutil.copyfile(made, name)
    Path(name).replace(path)


def _has(file: Path, size: int) -> bool:
    try:
        return file.stat().st_size == size
    except OSError:
        return False
