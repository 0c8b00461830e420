"""Writes bundles so that a reader sees the old one or the new one, never half of either.

    with staged_bundle("out/hamsa") as stage:
        ...                             # write stage.folder / "model.xml", ...
        stage.write_manifest(manifest)  # hashes the files; may be called again, e.g. once parity is known
        stage.publish()                 # fsync, then one rename

Files are built in a hidden sibling of the destination, so the rename never crosses a file system. Leaving
the block without `publish()`, for whatever reason, removes the sibling and touches nothing else. A killed
process leaves the sibling behind; the next writer of the same bundle removes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import shutil
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from hamsa_runtime.bundle import Bundle, open_bundle, sha256_of
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import WINDOWS, check_new, is_there
from hamsa_runtime.locks import removed_lock
from hamsa_runtime.manifest import FileEntry, Manifest
from hamsa_runtime.vocabulary import MANIFEST, OWN_FILES
from hamsa_runtime.whole_files import DISK_ERRORS

# linux/fs.h: swaps two paths in one step, so that there is no moment without a bundle
RENAME_EXCHANGE = 2
AT_FDCWD = -100


@contextlib.contextmanager
def staged_bundle(folder: str | Path) -> Iterator[Stage]:
    """A staging folder that `Stage.publish` turns into the bundle `folder`; discarded if it is not published.

    Holds a lock for the destination: a second writer waits until the first one has left its block.

    Raises:
        InputError: the destination is neither free, nor empty, nor a bundle; or it cannot be written there.
    """
    # A link to a bundle is followed: renaming over the link would leave the old bundle where it was.
    check_new(Path(folder))
    destination = Path(os.path.realpath(folder))
    with _new_parents(destination), _lock(destination):
        _sweep(destination)
        _check_replaceable(destination)
        stage = Stage(_sibling(destination, "tmp"), destination)
        with _reported(destination):
            stage.folder.mkdir()
        try:
            with _reported(destination, only=DISK_ERRORS):
                yield stage
        finally:
            shutil.rmtree(stage.folder, ignore_errors=True)


# What bundles have, for one whose manifest cannot be read.
OF_A_BUNDLE = re.compile(r"model\.(onnx|onnx\.data|xml|bin|plan)|state_\d+\.bin|manifest\.json\..*")


@dataclass
class Stage:
    """A bundle being written: files go into `folder`, and once it has a manifest, an `Engine` can run it."""

    folder: Path
    destination: Path
    published: bool = field(default=False, init=False)

    def write_manifest(self, manifest: Manifest) -> Bundle:
        """Hashes every file in the folder and writes the manifest, replacing an earlier one.

        Args:
            manifest: of which `files` is not known yet: it is what is found in the folder.

        Raises:
            InputError: the manifest is not valid, or a file in the folder is a link.
        """
        whole = replace(manifest, files=_hashed(self.folder))
        (self.folder / MANIFEST).write_bytes(whole.to_json())
        return Bundle(self.folder, whole)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for what the bundle will not hold. After a kill it is swept like the staging folder."""
        folder = _sibling(self.destination, "tmp")
        with _reported(self.destination):
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self) -> Bundle:
        """Makes the staged files the bundle at the destination, durably and in one step.

        Raises:
            InputError: there is no manifest yet, a file changed after it was written, the destination is not
                replaceable, or the disk is full; the destination is then as it was.
        """
        if self.published:
            raise InputError(f"{self.destination}: published already", expected="one publish() for each stage")
        staged = open_bundle(self.folder)
        staged.verify()
        _check_replaceable(self.destination)
        with _reported(self.destination):
            for path in (*self.folder.rglob("*"), self.folder):
                _fsync(path)
            _swap(self.folder, self.destination)
        self.published = True
        # If the rename is not durable yet, a power cut leaves the old bundle whole: nothing to undo.
        with contextlib.suppress(OSError):
            _fsync(self.destination.parent)
        return Bundle(self.destination, staged.manifest)


def _hashed(folder: Path) -> dict[str, FileEntry]:
    entries: dict[str, FileEntry] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise InputError(f"{path.name}: a link in the staging folder", expected="a copy of the file")
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            entries[name] = FileEntry(*sha256_of(path))
    return entries


def check_destination(folder: Path) -> None:
    """Fail early where a bundle could not be written; touches nothing.

    Raises:
        InputError: the folder is neither free, nor empty, nor a bundle; or it cannot be made.
    """
    check_new(folder)
    destination = Path(os.path.realpath(folder))
    _check_replaceable(destination)
    above = next(path for path in destination.parents if is_there(path))
    if not above.is_dir():
        raise InputError(
            f"{destination}: cannot be made, because {above} is a file",
            expected="a folder to write to",
            fix="choose another output folder",
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(
            f"{destination}: cannot be written, because {above} belongs to somebody else, or is read-only",
            expected="a place that may be written to",
            fix="choose another output folder",
        )


def _check_replaceable(destination: Path) -> None:
    """Only a bundle or an empty folder is ever replaced: `-o ~` must not delete a home directory."""
    if not is_there(destination):
        return
    with _reported(destination):
        is_free = destination.is_dir() and ((destination / MANIFEST).is_file() or not any(destination.iterdir()))
    if not is_free:
        raise InputError(
            f"{destination}: not a bundle; refusing to replace it",
            expected="a new folder, an empty one, or a bundle",
            fix=f"choose another output folder, such as {destination / 'bundle'}",
        )
    for path in _files_of_somebody_else(destination):
        raise InputError(
            f"{path}: a file that is no part of the bundle there, which is about to be replaced",
            expected="a bundle's folder with nothing else in it: the whole folder is replaced",
            fix="move it out of there; or choose another output folder",
        )


def _files_of_somebody_else(destination: Path) -> list[Path]:
    """In a bundle's folder, whatever its manifest does not list; of one that cannot be read, what no bundle has."""
    try:
        listed = set(open_bundle(destination).manifest.files)
    except InputError:
        listed = set()
    return [
        path
        for path in sorted(destination.rglob("*"))
        if (path.is_symlink() or not path.is_dir())
        and path.relative_to(destination).as_posix() not in (*listed, *OWN_FILES)
        and not (listed == set() and OF_A_BUNDLE.fullmatch(path.name))
    ]


def _swap(stage: Path, destination: Path) -> None:
    """Puts the staged folder in the destination's place; afterwards `stage` is the old bundle, or gone."""
    if not destination.exists():
        stage.rename(destination)
    elif not _exchange(stage, destination):
        aside = _sibling(destination, "old")
        destination.rename(aside)
        try:
            stage.rename(destination)
        except BaseException:
            aside.rename(destination)
            raise
        aside.rename(stage)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two paths in one step; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "renameat2"):
        return False
    code: int = libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    return code == 0


def _sibling(destination: Path, kind: str) -> Path:
    return destination.with_name(f".{destination.name}.{kind}-{os.getpid()}-{secrets.token_hex(4)}")


def _sweep(destination: Path) -> None:
    """Removes what killed writers left. The lock is held, so nobody alive is using any of it."""
    pattern = re.compile(rf"\.{re.escape(destination.name)}\.(tmp|old)-\d+-[0-9a-f]{{8}}")
    with _reported(destination):
        leftovers = [path for path in destination.parent.iterdir() if pattern.fullmatch(path.name)]
    for path in leftovers:
        # A kill between the two renames of the slow path: the old bundle is the only one there is.
        if ".old-" in path.name and not destination.exists():
            path.rename(destination)
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _new_parents(destination: Path) -> Iterator[None]:
    """Creates missing parents, and removes those again in which nothing was published."""
    missing = [parent for parent in destination.parents if not parent.exists()]
    with _reported(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for parent in missing:
            with contextlib.suppress(OSError):  # not empty: something was published
                parent.rmdir()


@contextlib.contextmanager
def _lock(destination: Path) -> Iterator[None]:
    """An exclusive lock on `.name.lock` beside the destination; the file is removed with the lock."""
    path = destination.with_name(f".{destination.name}.lock")
    with contextlib.ExitStack() as stack:
        with _reported(destination):
            stack.enter_context(removed_lock(path))
        yield


def _fsync(path: Path) -> None:
    if WINDOWS and path.is_dir():  # which opens no folder, and flushes only what may be written to
        return
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _reported(destination: Path, only: Collection[int] = ()) -> Iterator[None]:
    """Turns the system's refusal to write (of all reasons, or `only` some) into an error that names the destination."""
    try:
        yield
    except OSError as error:
        if only and error.errno not in only:
            raise
        held = WINDOWS and isinstance(error, PermissionError)
        room = "free some space, or " if error.errno in DISK_ERRORS else ""
        raise InputError(
            f"{destination}: cannot be written ({error.strerror})",
            expected="a place with enough room that may be written to",
            cause="a file there is open: Windows neither replaces nor removes what a program reads" if held else "",
            fix=f"{room}choose another output folder; what was there before is unchanged",
        ) from error
