"""Packages unpacked in a folder of this machine, for the sandboxes that read them.

This module imports nothing but the standard library.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from joinery import limits
from joinery.packages.archive import unpack
from joinery.packages.errors import PackageRefused

Fetch = Callable[[IO[bytes]], None]
"""Writes a package's zip into a file."""

_PIECE: Final = 1_048_576


class Unpacked:
    """Keeps packages unpacked by their hash; processes may share the folder.

    Args:
        root: The folder; made when it is not there, and nobody else's.
        alone: For where code runs as the same user and can write here, as on AWS: before a
            package is used, all others are removed, so that code of one owner does not see
            those of another, and it is made anew where anything in it was touched.
        most: Bytes that are kept; packages used least recently are removed.
    """

    def __init__(
        self, root: Path, *, alone: bool = False, most: int = limits.PACKAGES_KEPT_BYTES
    ) -> None:
        self._root, self._alone, self._most = root, alone, most
        self._marks: dict[str, str] = {}

    @contextmanager
    def held(self, sha256: str, size: int, fetch: Fetch) -> Iterator[Path]:
        """Gives a package's folder, which stays as it is meanwhile.

        Args:
            sha256: Its hash, which is checked.
            size: The bytes of its zip.
            fetch: Gets the zip where it is not here.

        Raises:
            PackageRefused: It is another one, or not as packages are.
            PackageTooLarge: It passes a limit.
        """
        self._own_root()
        folder = self._root / sha256
        if self._alone:
            self.clear(but=sha256)
            if sha256 not in self._marks or _mark(folder) != self._marks[sha256]:
                self._make(folder, size, fetch)
                self._marks = {sha256: _mark(folder)}
            yield folder
            return
        with self._lock(sha256) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            while not folder.is_dir():
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not folder.is_dir():
                    self._make(folder, size, fetch)
                    self._forget(but=sha256)
                fcntl.flock(lock, fcntl.LOCK_SH)
            with suppress(OSError):
                os.utime(folder)
            yield folder

    def clear(self, *, but: str = "") -> None:
        """Removes all packages but one."""
        self._own_root()
        for entry in self._root.iterdir():
            if entry.name != but:
                remove(entry)
        self._marks = {name: mark for name, mark in self._marks.items() if name == but}

    def _own_root(self) -> None:
        """Makes the folder; refuses one that somebody else has put there."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._root.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PackageRefused(f"{self._root} is somebody else's")
        self._root.chmod(0o700)

    def _make(self, folder: Path, size: int, fetch: Fetch) -> None:
        packed = self._root / f".{folder.name}.zip"
        unfinished = self._root / f".{folder.name}.new"
        for left in (packed, unfinished, folder):
            remove(left)
        try:
            with packed.open("xb+") as file:
                fetch(file)
                check_digest(file, folder.name, size)
                unfinished.mkdir()
                unpack(file, unfinished)
            unfinished.rename(folder)
        finally:
            remove(packed)
            remove(unfinished)

    def _forget(self, *, but: str) -> None:
        """Removes the packages used least recently that nobody uses, down to what is kept."""
        rows = []
        for entry in self._root.iterdir():
            with suppress(OSError):  # another process may be removing it
                if entry.is_dir() and not entry.name.startswith("."):
                    rows.append((entry.stat().st_mtime, entry, _size(entry)))
        total = sum(size for _, _, size in rows)
        for _, entry, size in sorted(rows):
            if total <= self._most:
                return
            if entry.name == but:
                continue
            with self._lock(entry.name) as lock, suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(entry)
                total -= size

    @contextmanager
    def _lock(self, sha256: str) -> Iterator[int]:
        number = os.open(self._root / f".{sha256}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            yield number
        finally:
            os.close(number)


def check_digest(packed: IO[bytes], sha256: str, size: int) -> None:
    """Checks that a zip is the one that its name says. Raises: PackageRefused."""
    digest, read = hashlib.sha256(), 0
    packed.seek(0)
    while piece := packed.read(_PIECE):
        digest.update(piece)
        read += len(piece)
    packed.seek(0)
    if read != size or digest.hexdigest() != sha256:
        raise PackageRefused("the package is not the one that was published: its hash is another")


def remove(path: Path) -> None:
    """Removes a file or a folder, whatever is left of it."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        path.chmod(0o700)
        for place, names, _ in os.walk(path):
            for name in names:  # code may have closed them
                if not (below := Path(place, name)).is_symlink():
                    below.chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _mark(folder: Path) -> str:
    """Returns what changes when anything below a folder does.

    Who may write to a file can set its times, but not the one of its last change.
    """
    digest = hashlib.sha256()
    pending = [folder]
    try:
        while pending:
            place = pending.pop()
            for entry in [place, *sorted(place.iterdir())]:
                found = entry.lstat()
                row = (str(entry), found.st_ino, found.st_mode, found.st_size,
                       found.st_mtime_ns, found.st_ctime_ns)  # fmt: skip
                digest.update(repr(row).encode("utf-8", "surrogateescape"))
                if entry is not place and stat.S_ISDIR(found.st_mode):
                    pending.append(entry)
    except OSError:
        return ""
    return digest.hexdigest()


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
