"""Runs a command in which whoever opens an internet socket, in Python or in native code, is killed with SIGSYS.

    python tests/without_network.py COMMAND [ARGUMENT ...]

A seccomp filter needs no privileges, cannot be taken off, and is inherited by threads and child processes.
Exits with `UNSUPPORTED` where the kernel or the processor does not let it be set.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

UNSUPPORTED = 77

# linux/prctl.h, linux/seccomp.h, linux/filter.h, linux/audit.h
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
AF_INET, AF_INET6 = 2, 10
SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # (AUDIT_ARCH_..., the number of socket())


def filter_for(architecture: int, socket: int) -> bytes:
    """The program: kill for socket(AF_INET) and socket(AF_INET6), and for calls of another architecture."""
    instructions = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 0, 6, architecture),
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 3, socket),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_IF_EQUAL, 2, 0, AF_INET),
        (JUMP_IF_EQUAL, 1, 0, AF_INET6),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, KILL_PROCESS),
    ]
    return b"".join(struct.pack("HBBI", *each) for each in instructions)


def deny_network() -> bool:
    """Sets the filter for this process and all that it starts; False where that is not possible."""
    if platform.machine() not in SOCKET:
        return False
    program = filter_for(*SOCKET[platform.machine()])
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None)
    return (
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        and libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0) == 0
    )


if __name__ == "__main__":
    if not deny_network():
        sys.exit(UNSUPPORTED)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
