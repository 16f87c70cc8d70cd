"""The ways to shut a process off, and which of them works on this machine.

Each gives a command that runs the same program: in namespaces of its own with
nothing but Python's own files to read, or plainly, where the whole function is shut
off (in its VPC on AWS) or where the user accepts that nothing is.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

ISOLATION_VARIABLE: Final = "JOINERY_CODE_ISOLATION"
"""Tells the `run_code` function what `run.isolation` is to take."""

ALLOW_VARIABLE: Final = "JOINERY_ALLOW_LOCAL_CODE"
"""Stands for the option `--allow-local-code`."""

SCRATCH_BYTES: Final = 64 * 1024 * 1024
"""Room for files of one call."""

INSIDE: Final = "/tmp"
"""Where code starts and may write, in a sandbox."""

PACKAGES: Final = "/packages"
"""Where packages are, in a sandbox."""

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_FILES: Final = ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")


@dataclass(frozen=True, slots=True)
class Isolation:
    """One way to start the program.

    Attributes:
        name: `bwrap`, `unshare`, `function` or `none`.
        namespaces: Whether it has a network, processes and files of its own.
    """

    name: str

    @property
    def namespaces(self) -> bool:
        """Whether the process gets a network, processes and files of its own."""
        return self.name in ("bwrap", "unshare")

    def command(self, program: str, scratch: str, packages: str = "") -> list[str]:
        """Returns the command that runs a Python program.

        Args:
            program: Its text.
            scratch: An empty folder, for this call alone.
            packages: A folder of packages that it may read, if any.
        """
        python = [interpreter(), "-I", "-S", "-B", "-X", "utf8", "-c", program]
        if self.name == "bwrap":
            return [*_bwrap(packages), "--", *python]
        if self.name == "unshare":
            return [*_unshare(scratch, packages), "--", *python]
        return python

    def folder(self, scratch: str) -> str:
        """Returns where the code starts."""
        return INSIDE if self.namespaces else scratch

    def packages(self, folder: str) -> str:
        """Returns where the code finds a folder of packages."""
        return PACKAGES if folder and self.namespaces else folder


def interpreter() -> str:
    """Returns this Python itself, outside of any virtual environment."""
    return os.path.realpath(sys.executable)


@lru_cache(maxsize=1)
def readable() -> tuple[str, ...]:
    """Returns what a sandbox shows: the system's programs, and Python."""
    found = [path for path in (*_SYSTEM, *_FILES) if Path(path).exists()]
    places = (sys.base_prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib"),
              str(Path(interpreter()).parent))  # fmt: skip
    for place in sorted({os.path.realpath(place) for place in places}):
        if not any(Path(place).is_relative_to(known) for known in found):
            found.append(place)
    return tuple(found)


def _bwrap(packages: str) -> list[str]:
    command = [
        shutil.which("bwrap") or "bwrap",
        *("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"),
        *("--cap-drop", "ALL", "--hostname", "sandbox", "--uid", "65534", "--gid", "65534"),
    ]
    for path in readable():
        kind = "--symlink" if Path(path).is_symlink() else "--ro-bind"
        source = str(Path(path).readlink()) if kind == "--symlink" else path
        command += [kind, source, path]
    if packages:
        command += ["--ro-bind", packages, PACKAGES]
    return [*command, "--dev", "/dev", "--size", str(SCRATCH_BYTES), "--tmpfs", INSIDE,
            "--chdir", INSIDE, "--remount-ro", "/"]  # fmt: skip


# util-linux has all it takes to build the same by hand. The shell stays: the first process of
# a namespace is spared most signals, and the code should not be. It
# says nothing of them either.
_BUILD: Final = """\
root=$1 size=$2 packages=$3 inside=$4; shift 4
mount -t tmpfs -o "size=$size,mode=755,nosuid,nodev" tmpfs "$root"
while [ "$1" != -- ]; do
  if [ -L "$1" ]; then cp -P "$1" "$root$1"
  elif [ -d "$1" ]; then mkdir -p "$root$1"; mount --bind -o ro "$1" "$root$1"
  else mkdir -p "$root${1%/*}"; touch "$root$1"; mount --bind -o ro "$1" "$root$1"; fi
  shift
done
shift
mkdir -p "$root/tmp" "$root/dev/shm"
for node in null zero random urandom; do
  touch "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"
done
if [ -n "$packages" ]; then
  mkdir "$root$inside"; mount --bind -o ro,nosuid,nodev "$packages" "$root$inside"
fi
cd "$root"
exec 2>/dev/null
chroot "$root" setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@" 2>&1
"""


def _unshare(scratch: str, packages: str) -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [
        shutil.which("unshare") or "unshare", *user,
        *("--net", "--pid", "--mount", "--ipc", "--uts", "--fork", "--kill-child"),
        *("sh", "-euc", _BUILD, "sh", scratch, str(SCRATCH_BYTES), packages, PACKAGES),
        *readable(),
    ]  # fmt: skip
