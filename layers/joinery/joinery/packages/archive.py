"""Unpacks a package, trusting nothing that stands in it.

Whoever uploads a package may put any bytes into it; `run_code` unpacks it before any
sandbox. This module imports nothing but the standard library.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Final

from joinery import limits
from joinery.packages.errors import PackageRefused, PackageTooLarge

_END: Final = struct.Struct("<4s4H2LH")
"""End of a zip's directory: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.16"""

_END_MARK: Final = b"PK\x05\x06"
_ZIP64_LOCATOR: Final = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES: Final = 20
_ENTRY_BYTES: Final = 400
"""Most bytes of the directory for one file; names have 255 at most."""

_NAME_CHARS: Final = 255
_DEPTH: Final = 32
_PIECE: Final = 1_048_576
_ENCRYPTED: Final = 0x1


def unpack(packed: IO[bytes], into: Path) -> int:
    """Unpacks a package into an empty folder; returns the bytes of its files.

    Args:
        packed: The zip.
        into: The folder; files in it can be read by everybody and written by nobody.

    Raises:
        PackageTooLarge: It has more files or bytes than a package may.
        PackageRefused: It is damaged, or would write elsewhere, or holds anything but files.
    """
    _check_directory(packed)
    try:
        with zipfile.ZipFile(packed) as archive:
            entries = archive.infolist()
            _check(entries)
            return sum(_write(archive, entry, into) for entry in entries)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise PackageRefused(f"the package is damaged: {str(error)[:200]}") from None


def _check_directory(packed: IO[bytes]) -> None:
    """Refuses a directory that takes much memory to read, before it is read."""
    size = packed.seek(0, 2)
    tail = _END.size + _ZIP64_LOCATOR_BYTES
    packed.seek(max(0, size - tail))
    end = packed.read(tail)
    packed.seek(0)
    if len(end) < _END.size or end[-_END.size :][:4] != _END_MARK:
        raise PackageRefused("the package is no zip as Joinery makes them")
    if end[: -_END.size][-_ZIP64_LOCATOR_BYTES:][:4] == _ZIP64_LOCATOR:
        raise PackageRefused("the package is a zip of the 64-bit form, which none needs to be")
    _, _, _, _, entries, directory, _, _ = _END.unpack(end[-_END.size :])
    if entries > limits.PACKAGE_FILES or directory > limits.PACKAGE_FILES * _ENTRY_BYTES:
        raise _too_many(entries)


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > limits.PACKAGE_FILES:
        raise _too_many(len(entries))
    total = sum(entry.file_size for entry in entries)
    if total > limits.PACKAGE_BYTES:
        raise _too_large(total)
    seen: set[str] = set()
    for entry in entries:
        _check_entry(entry)
        if entry.filename in seen:
            raise PackageRefused(f"the package has '{entry.filename[:80]}' twice")
        seen.add(entry.filename)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    parts = name.split("/")
    inside = len(name) <= _NAME_CHARS and len(parts) <= _DEPTH and entry.filename == name
    if not inside or any(part in ("", ".", "..") for part in parts) or set(name) & set("\\:\0"):
        raise PackageRefused(f"the package has a file with a bad name: {name[:80]!r}")
    kind = entry.external_attr >> 16
    if stat.S_IFMT(kind) not in (0, stat.S_IFREG) or entry.is_dir():
        raise PackageRefused(f"the package has '{name[:80]}', which is no plain file")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise PackageRefused(f"the package has '{name[:80]}' packed in a way that is not taken")


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, into: Path) -> int:
    target = into / entry.filename
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with archive.open(entry) as source, target.open("xb") as file:
            while piece := source.read(_PIECE):
                written += len(piece)
                if written > entry.file_size:
                    raise PackageRefused(f"'{entry.filename[:80]}' is longer than it says")
                file.write(piece)
        target.chmod(0o444)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise PackageRefused(f"'{entry.filename[:80]}' is a file and a folder at once") from None
    return written


def _too_many(count: int) -> PackageTooLarge:
    return PackageTooLarge(
        f"the package has {count:,} files or more; the limit is {limits.PACKAGE_FILES:,}",
        limit=limits.PACKAGE_FILES,
        actual=count,
    )


def _too_large(size: int) -> PackageTooLarge:
    return PackageTooLarge(
        f"the package has {size:,} bytes unpacked; the limit is {limits.PACKAGE_BYTES:,}",
        limit=limits.PACKAGE_BYTES,
        actual=size,
    )
