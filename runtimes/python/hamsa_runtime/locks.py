"""Exclusive locks that the system frees when their owner dies, even by SIGKILL; on Windows by the package filelock.

Where there is flock, it is used as it is: it locks a folder too, and the file of a lock can be removed with it. Windows
locks no folders, and neither renames nor removes what is open: there, what is to be locked has a file for it beside it,
NAME.lock, which goes with the lock.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HAS_FLOCK = fcntl is not None
LOCK = ".lock"  # how the names of files end that are locked for others
POLL_SECONDS = 0.05


@contextlib.contextmanager
def removed_lock(path: Path) -> Iterator[None]:
    """An exclusive lock on a file, which is removed with it; waited for.

    Raises:
        OSError: the file cannot be made or locked.
    """
    if not HAS_FLOCK:
        with _named_lock(path, _sleep):
            yield
        return
    descriptor = _locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


@contextlib.contextmanager
def kept_lock(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """An exclusive lock on a file that stays, so that nobody locks a removed one.

    Args:
        path: the file. On Windows it goes, where nobody else has it open.
        wait: called as long as somebody else has it; is to sleep.

    Raises:
        OSError: the file cannot be made or locked.
    """
    if not HAS_FLOCK:
        with _named_lock(path, wait):
            yield
        return
    descriptor = _opened(path)
    try:
        while not _flock(descriptor):
            wait()
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock_if_free(path: Path) -> Iterator[bool]:
    """Whether nobody else has the lock on a file, which is then held, and removed with it. Nothing is waited for.

    Raises:
        OSError: the file cannot be made or locked.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_taken(path) if HAS_FLOCK else _named_lock(path, _refuse))
            is_free = True
        except BlockingIOError:
            is_free = False
        yield is_free


@contextlib.contextmanager
def _taken(path: Path) -> Iterator[None]:
    descriptor = _opened(path)
    try:
        if not _flock(descriptor) or not _same_file(descriptor, path):
            raise BlockingIOError
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def own_lock(path: Path, make: Callable[[Path], None]) -> Iterator[bool]:
    """Make a file or folder, and hold a lock on it; False where another process took it for a leftover before that."""
    if not HAS_FLOCK:
        with _named_lock(lock_beside(path), _sleep):
            make(path)
            yield True
        return
    make(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _flock_or_none(descriptor) is not False and path.exists()
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def leftover(path: Path) -> Iterator[bool]:
    """Whether this user made it and nobody holds its lock, which is then held: there are locks, and its owner is gone.

    Raises:
        OSError: it is gone, or a link, or may not be opened.
    """
    if not HAS_FLOCK:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_named_lock(lock_beside(path), _refuse))
                is_free = True
            except BlockingIOError:
                is_free = False
            yield is_free
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield os.fstat(descriptor).st_uid == os.geteuid() and bool(_flock_or_none(descriptor))
    finally:
        os.close(descriptor)


def lock_beside(path: Path) -> Path:
    """The file that is locked for one that cannot be locked itself; such a file is locked for itself."""
    return path if path.name.endswith(LOCK) else path.with_name(path.name + LOCK)


@contextlib.contextmanager
def _named_lock(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """By filelock. Windows removes the file with the lock, unless another waits for it and has it open."""
    import filelock

    lock = filelock.FileLock(path)
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except filelock.Timeout:
            wait()
    try:
        yield
    finally:
        lock.release()


def _sleep() -> None:
    time.sleep(POLL_SECONDS)


def _refuse() -> None:
    raise BlockingIOError


def _locked(path: Path) -> int:
    while True:
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Its last owner may have removed the file while we waited: then what we hold locks nothing.
            if _same_file(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _flock(descriptor: int) -> bool:
    """Whether the lock could be had."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flock_or_none(descriptor: int) -> bool | None:
    """Whether the lock could be had; None where there are no locks."""
    try:
        return _flock(descriptor)
    except OSError:
        return None
