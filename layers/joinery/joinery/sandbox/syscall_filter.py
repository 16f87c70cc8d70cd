"""Takes from this process, for good, the system calls that reach out of it.

No sockets, no other processes, no signals to others, no mounts. Linux lets every
process do this to itself (seccomp), also where no namespaces are to be had, as in
Lambda. Like `child.py`, this text runs in the sandbox and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import struct

# audit.h, and the numbers of each processor's system calls: a name each, in this order.
NAMES = (
    "socket", "connect", "fork", "vfork", "execve", "execveat", "clone3", "ptrace",
    "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
    "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "setrlimit", "prlimit64", "unshare", "setns",
    "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen",
    "open_by_handle_at", "bpf", "perf_event_open", "userfaultfd", "add_key", "request_key",
    "keyctl", "io_uring_setup", "io_uring_enter", "io_uring_register", "shmget", "msgget",
    "semget", "clone", "kill", "tgkill",
)  # fmt: skip

PROCESSORS: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (
        41, 42, 57, 58, 59, 322, 435, 101, 310, 311, 434, 438, 424, 200, 129, 297, 160, 302, 272,
        308, 165, 166, 155, 161, 428, 429, 430, 304, 321, 298, 323, 248, 249, 250, 425, 426, 427,
        29, 68, 64, 56, 62, 234,
    )),
    "aarch64": (0xC00000B7, (
        198, 203, -1, -1, 221, 281, 435, 117, 270, 271, 434, 438, 424, 130, 138, 240, 164, 261, 97,
        268, 40, 39, 41, 51, 428, 429, 430, 265, 280, 241, 282, 217, 218, 219, 425, 426, 427,
        194, 186, 190, 220, 129, 131,
    )),
}  # fmt: skip

CLONE_THREAD = 0x10000
X32_CALLS = 0x40000000
EPERM, ENOSYS = 1, 38

# linux/bpf_common.h, linux/seccomp.h, linux/prctl.h
_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NO_NEW_PRIVILEGES, _SECCOMP, _MODE_FILTER = 38, 22, 2
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


def program(processor: str, pid: int) -> list[tuple[int, int, int, int]]:
    """Returns the filter: rows of operation, jump if true, jump if false, operand."""
    architecture, numbers = PROCESSORS[processor]
    call = dict(zip(NAMES, numbers, strict=True))
    # glibc takes ENOSYS from clone3 for an older kernel's and asks clone, whose flags
    # a filter can see.
    rows = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 1, call.pop("clone3")),
        (_RETURN, 0, 0, _REFUSE | ENOSYS),
        (_AT_LEAST, 0, 1, X32_CALLS),
        (_RETURN, 0, 0, _REFUSE | EPERM),
    ]
    for name, test in (("clone", (_BITS, CLONE_THREAD)), ("kill", (_EQUAL, pid)),
                       ("tgkill", (_EQUAL, pid))):  # fmt: skip
        rows += [
            (_EQUAL, 0, 4, call.pop(name)),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (test[0], 0, 1, test[1]),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _REFUSE | EPERM),
        ]
    for number in call.values():
        if number >= 0:
            rows += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | EPERM)]
    return [*rows, (_RETURN, 0, 0, _ALLOW)]


def install() -> bool:
    """Filters this process from now on; returns whether the system let it."""
    if os.uname().machine not in PROCESSORS or os.uname().sysname != "Linux":
        return False
    rows = program(os.uname().machine, os.getpid())
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
    head = struct.pack("HxxxxxxP", len(rows), ctypes.addressof(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(prctl(_SECCOMP, _MODE_FILTER, ctypes.c_char_p(head), 0, 0) == 0)
