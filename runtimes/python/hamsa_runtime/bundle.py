"""A bundle on disk: a folder with a manifest that lists the hash and size of every other file in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_file, is_folder, listed
from hamsa_runtime.manifest import FileEntry, Manifest, manifest_from_json, read_at_most
from hamsa_runtime.named_files import check_ir, locations_in_onnx
from hamsa_runtime.onnx_steps import check_steps
from hamsa_runtime.signature import Key, check_signature
from hamsa_runtime.vocabulary import IR_FILES, MANIFEST, ONNX_FILE, OWN_FILES

CHUNK = 2**20

WHY_A_MANIFEST = "engine files alone are not run: nothing says what they are, or that they are whole"


@dataclass(frozen=True)
class Bundle:
    """A folder and its manifest. The files are trusted only after `verify()`."""

    folder: Path
    manifest: Manifest

    def verify(self) -> Verified:
        """Compares size and sha256 of every listed file, and that no engine could open another. Nothing is run.

        Engines open files by name, so that the largest need not be in memory twice; with the result,
        `Verified.check_unchanged` says afterwards whether what they have read is what was compared here.

        Raises:
            InputError: a file is missing, changed, cut, a link, shared with another folder, or one that the manifest
                does not list; the model names such a file; or the folder cannot be listed.
        """
        states = {}
        for name, entry in self.manifest.files.items():
            path = self.folder / name
            states[path] = _verify_file(self.folder, path, entry)
        self._check_no_other_file()
        self._check_model()
        return Verified(states)

    def _check_no_other_file(self) -> None:
        """Hidden files are left: none of them is opened, because a model may only name listed ones."""
        expected = "a folder that may be read: no file in it may be one that the manifest does not list"
        folders = [self.folder]
        while folders:
            for path in listed(folders.pop(), expected):
                name = path.relative_to(self.folder).as_posix()
                if path.name.startswith(".") or name in (*OWN_FILES, *self.manifest.files):
                    continue
                if path.is_symlink() or not is_folder(path):
                    raise InputError(
                        f"{path}: not listed in {MANIFEST}",
                        expected="only files with a known hash",
                        fix="keep other files outside of the bundle's folder",
                    )
                folders.append(path)

    def _check_model(self) -> None:
        """Only listed files may be named by the one that engines are given."""
        name = IR_FILES[0] if self.manifest.target == "openvino" else ONNX_FILE
        if name not in self.manifest.files:
            return  # and not there either: the engine says so
        path = self.folder / name
        try:
            data = path.read_bytes()
            named = _named_in(name, data)
        except InputError as error:
            raise InputError(
                f"{path}: {error.found}", expected=error.expected, cause=error.cause, fix=error.fix
            ) from error
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        unlisted = named.difference(map(str.encode, self.manifest.files))
        for location in sorted(unlisted):
            raise _unlisted_data(path, location)


# Device, inode, size, and the times of the last change of content and of anything: the last one nobody can set.
State = tuple[int, ...]


@dataclass(frozen=True)
class Verified:
    """The state that each file had before it was hashed. Any change after that shows: a write, or another file put in
    its place, even one with the same size and date; on a clock of some milliseconds, as file systems have it."""

    states: Mapping[Path, State]

    def check_unchanged(self) -> None:
        """To be called after an engine has read the files.

        Raises:
            InputError: one was changed or replaced since it was hashed.
        """
        for path, state in self.states.items():
            try:
                found = _state(path)
            except OSError:
                found = ()
            if found != state:
                raise InputError(
                    f"{path}: changed while the bundle was loaded",
                    expected="the file whose hash was compared with the manifest",
                    cause="the bundle was written to while it was in use",
                    fix="open it again; replace the whole folder, not files in it",
                )


def open_bundle(folder: str | Path, *, public_key: Key | None = None) -> Bundle:
    """Reads the manifest of a bundle's folder; `Bundle.verify` then checks the files.

    Args:
        folder: the bundle.
        public_key: whose signature the manifest must have: the path of a PEM file, or its content. Checked before the
            manifest is parsed, on the bytes that are. None asks for no signature.

    Raises:
        InputError: not a folder, no manifest in it, or a manifest that is not valid (naming the folder), or not signed
            with that key.
        MissingError: a signature is asked for, and the package cryptography is not installed.
    """
    if not isinstance(folder, (str, os.PathLike)) or not isinstance(os.fspath(folder), str):
        raise InputError(f"a bundle given as {type(folder).__name__}", expected="the path of its folder")
    folder = Path(folder)
    data = manifest_bytes(folder)
    if public_key is not None:
        check_signature(folder, data, public_key)
    return bundle_from(folder, data)


def manifest_bytes(folder: Path) -> bytes:
    """The manifest of a bundle's folder, neither parsed nor verified.

    Raises:
        InputError: not a folder, or no manifest in it that can be read.
    """
    path = folder / MANIFEST
    if not is_folder(folder):
        raise _not_a_folder(folder)
    if not is_file(path):
        raise InputError(
            f"{folder}: no {MANIFEST} in this folder",
            expected="a bundle, as hamsa-export writes it",
            cause=WHY_A_MANIFEST,
            fix="export the model again, or copy the whole bundle folder",
        )
    _check_inside(folder, path)
    try:
        return read_at_most(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def bundle_from(folder: Path, manifest: bytes) -> Bundle:
    """A bundle from its folder and the bytes of its manifest; InputError, naming the folder, if they are not valid."""
    try:
        return Bundle(folder, manifest_from_json(manifest))
    except InputError as error:
        raise InputError(
            f"{folder}: {error.found}", expected=error.expected, cause=error.cause, fix=error.fix
        ) from error


def sha256_of(path: Path) -> tuple[str, int]:
    """The sha256 (hexadecimal) and the size in bytes of a file, read in pieces of 1 MiB."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def _not_a_folder(path: Path) -> InputError:
    if is_file(path):
        return InputError(
            f"{path}: a file, not a bundle's folder",
            expected=f"a folder with a {MANIFEST}",
            cause=WHY_A_MANIFEST,
            fix=f"give the folder: {path.parent}",
        )
    return InputError(f"{path}: no such folder", expected=f"a folder with a {MANIFEST}")


def _state(path: Path) -> State:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _verify_file(folder: Path, path: Path, entry: FileEntry) -> State:
    if not is_file(path):  # also keeps pipes and devices from being opened
        raise InputError(f"{path}: missing", expected="every file that the manifest lists", fix="copy the bundle again")
    _check_inside(folder, path)
    try:
        state = _state(path)
        if (links := path.stat().st_nlink) > 1:
            raise InputError(
                f"{path}: one of {links} names (hard links) of this file",
                expected="a file of its own: through another name it can be changed from outside of the folder",
                fix=f"make a copy: cp -r {folder} COPY",
            )
        size = state[2]
        found = sha256_of(path) if size == entry.bytes else ("not computed", size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if found != (entry.sha256, entry.bytes):
        raise InputError(
            f"{path}: {found[1]} bytes, sha256 {found[0]}",
            expected=f"{entry.bytes} bytes, sha256 {entry.sha256}, as {MANIFEST} says",
            cause="the file was changed, swapped or cut after the export",
            fix="copy the bundle again, or export it again",
        )
    return state


def _named_in(name: str, data: bytes) -> set[bytes]:
    if name == ONNX_FILE:
        named = locations_in_onnx(data)
        check_steps(data)
        return named
    check_ir(data)
    return set()


def _unlisted_data(path: Path, location: bytes) -> InputError:
    name = location.decode(errors="replace")
    return InputError(
        f"{path}: its tensors lie in {name[:80]!r}, which {MANIFEST} does not list",
        expected="weights in files of the bundle, each with its hash",
        cause="a bundle that was made by hand, or changed: whoever changes that file changes the model",
        fix="export the model again",
    )


def _check_inside(folder: Path, path: Path) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path}: a link to {path.resolve()}", expected="a file inside the bundle's folder")
