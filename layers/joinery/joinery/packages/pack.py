"""Packs installed packages into one zip: the same files, the same bytes."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from joinery import limits
from joinery.packages.errors import PackageTooLarge

_TIME: Final = (1980, 1, 1, 0, 0, 0)
_LEVEL: Final = 6
_PIECE: Final = 1_048_576

_OF_THE_INSTALLER: Final = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
)
"""What tells of this very installation. `METADATA` stays: packages ask for their version by it."""

_MODULE_ENDINGS: Final = (".py", ".so", ".pyd")


def pack(folder: Path, into: Path) -> tuple[str, int]:
    """Packs the files that code can use; returns the SHA-256 and the size of the zip.

    Without bytecode, which is of one Python, and without programs.

    Raises:
        PackageTooLarge: It passes a limit of packages.
    """
    files = list(_files(folder))
    total = sum(path.stat().st_size for _, path in files)
    _bound("bytes unpacked", total, limits.PACKAGE_BYTES)
    _bound("files", len(files), limits.PACKAGE_FILES)
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, path in files:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes(), compresslevel=_LEVEL)
    size = into.stat().st_size
    _bound("bytes", size, limits.PACKAGE_ZIP_BYTES)
    return _digest(into), size


def modules_in(folder: Path) -> tuple[str, ...]:
    """Returns the top-level names that can be imported from installed packages."""
    found: set[str] = set()
    for name, _ in _files(folder):
        parts = PurePosixPath(name).parts
        if len(parts) == 1 and parts[0].endswith(_MODULE_ENDINGS):
            found.add(parts[0].split(".", 1)[0])
        elif len(parts) > 1 and parts[-1].endswith(_MODULE_ENDINGS) and parts[0].isidentifier():
            found.add(parts[0])
    return tuple(sorted(found))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    rows = [(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*")]
    for name, path in sorted(rows):
        parts = PurePosixPath(name).parts
        if not path.is_file() or path.is_symlink() or parts[0] == "bin" or name == ".lock":
            continue
        if "__pycache__" in parts or name.endswith((".pyc", ".pyo")):
            continue
        if parts[0].endswith(".dist-info") and parts[-1] in _OF_THE_INSTALLER:
            continue
        yield name, path


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _bound(what: str, actual: int, limit: int) -> None:
    if actual > limit:
        raise PackageTooLarge(
            f"the packages have {actual:,} {what}; the limit is {limit:,}",
            limit=limit,
            actual=actual,
        )
