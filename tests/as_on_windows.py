"""What Windows lacks and refuses, as far as a process on Linux can have it so; for processes that tests start.

`hide` before hamsa_runtime is imported: from then on modules and functions that only POSIX has are not there. What
other packages took before stays theirs. `refuse` makes files behave: what a process has open or mapped is neither
renamed nor removed, nothing is renamed onto what is there, folders are not opened, what is only read is not flushed,
and names that Windows does not take are not made.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import importlib.abc
import inspect
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, cast

import filelock

MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "spwd", "crypt", "readline"}
FUNCTIONS = (
    "fork", "forkpty", "register_at_fork", "sched_getaffinity", "sched_setaffinity", "getloadavg", "getuid", "geteuid",
    "getgid", "getegid", "chown", "fchown", "lchown", "fchmod", "mkfifo", "mknod", "sysconf", "uname", "statvfs",
    "pread", "pwrite", "posix_fallocate", "posix_fadvise", "fdatasync", "sync", "nice", "wait4", "killpg", "setsid",
    "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "O_SYNC",
)  # fmt: skip
SIGNALS = ("SIGKILL", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGCHLD", "alarm", "setitimer", "pause")
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[<>:\"|?*\\].*|.*[. ]")


class FileLock:
    """As filelock has it on Windows: the file goes with the lock, unless somebody else has it open."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def acquire(self, timeout: float) -> None:
        assert timeout == 0
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.descriptor)
            raise filelock.Timeout(str(self.path)) from None

    def release(self) -> None:
        os.close(self.descriptor)
        with contextlib.suppress(OSError):
            os.unlink(self.path)


class _Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> None:
        if fullname in MODULES:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def hide() -> None:
    """Modules and functions that only POSIX has."""
    filelock.FileLock = FileLock  # type: ignore[assignment]
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _Hidden())
    for module, names in ((os, FUNCTIONS), (signal, SIGNALS)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


def refuse() -> None:
    """What Windows does not do with files."""
    rename, replace, unlink, opened, mkdir, fsync = os.rename, os.replace, os.unlink, os.open, os.mkdir, os.fsync

    def rename_checked(source: Any, target: Any, **more: Any) -> None:
        _check_not_held(source)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        _check_name(target)
        rename(source, target, **more)

    def replace_checked(source: Any, target: Any, **more: Any) -> None:
        _check_not_held(source)
        _check_not_held(target)
        if os.path.isdir(target):
            raise _denied(target)
        _check_name(target)
        replace(source, target, **more)

    def unlink_checked(path: Any, **more: Any) -> None:
        if "dir_fd" not in more:
            _check_not_held(path)
        unlink(path, **more)

    def open_checked(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        # shutil's own way through folders, which it has on POSIX only
        caller = cast("FrameType", cast("FrameType", inspect.currentframe()).f_back).f_globals["__name__"]
        if os.path.isdir(path) and caller != "shutil":
            raise _denied(path)
        if flags & os.O_CREAT:
            _check_name(path)
        return opened(path, flags, mode, **more)

    def mkdir_checked(path: Any, mode: int = 0o777, **more: Any) -> None:
        _check_name(path)
        mkdir(path, mode, **more)

    def fsync_checked(descriptor: int) -> None:
        flags = int(re.findall(r"flags:\s+(\d+)", Path(f"/proc/self/fdinfo/{descriptor}").read_text())[0], 8)
        if flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        fsync(descriptor)

    checked = rename_checked, replace_checked, unlink_checked, open_checked, mkdir_checked, fsync_checked
    for each in checked:
        setattr(os, each.__name__.removesuffix("_checked"), each)
    os.remove = unlink_checked
    ctypes.CDLL = lambda name: SimpleNamespace()  # type: ignore[assignment,misc]  # a C library without renameat2


def _check_name(path: Any) -> None:
    if RESERVED.fullmatch(os.path.basename(os.fspath(path))):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))


def _check_not_held(path: Any) -> None:
    whole = os.path.realpath(path)
    if any(held == whole or held.startswith(f"{whole}/") for held in _held()):
        raise _denied(path)


def _held() -> set[str]:
    """What this process has open or mapped."""
    found = {line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:  # that of the listing itself
            continue
    return found


def _denied(path: Any) -> PermissionError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
