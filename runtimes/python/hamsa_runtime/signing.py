"""Makes keys and signs bundles. Devices need none of this: `hamsa_runtime.signature` verifies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hamsa_runtime.bundle import bundle_from, manifest_bytes, open_bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import check_new
from hamsa_runtime.interrupts import interruptible
from hamsa_runtime.signature import fingerprint, missing_package, read_key
from hamsa_runtime.vocabulary import SIGNATURE
from hamsa_runtime.whole_files import replace_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Ask = Callable[[], bytes]


def make_keys(private: Path, passphrase: bytes | None = None) -> tuple[Path, str]:
    """Writes a new private key, for the eyes of its owner only, and beside it the public one, NAME.pub.pem.

    Args:
        private: where to write the private key. Neither file may be there already.
        passphrase: encrypts the private key; None leaves it as it is.

    Returns:
        The path of the public key, and its fingerprint.

    Raises:
        InputError: a file is there already, or cannot be written; then neither is.
        MissingError: the package cryptography is not installed.
    """
    try:
        with interruptible():
            from cryptography.hazmat.primitives import serialization as form
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise missing_package(error) from error
    key = Ed25519PrivateKey.generate()
    encryption = form.NoEncryption() if passphrase is None else form.BestAvailableEncryption(passphrase)
    check_new(private)
    public = private.with_name(f"{private.stem}.pub.pem")
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption)
    known = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    _write_new(private, secret, mode=0o600)
    try:
        _write_new(public, known, mode=0o644)
    except InputError:
        private.unlink()
        raise
    return public, fingerprint(key.public_key())


def sign_bundle(folder: Path, private_key: Path, ask: Ask) -> str:
    """Checks a bundle's files, and writes the signature of its manifest beside it, in place of an earlier one.

    Args:
        folder: the bundle.
        private_key: a PEM file (PKCS#8).
        ask: called for the passphrase, if the key has one.

    Returns:
        The fingerprint of the key.

    Raises:
        InputError: the bundle is damaged, the key cannot be used, or the folder cannot be written to.
        MissingError: the package cryptography is not installed.
    """
    key = _private_key_from(private_key, ask)
    data = manifest_bytes(folder)
    bundle_from(folder, data).verify()
    _replace(folder / SIGNATURE, key.sign(data))
    open_bundle(folder, public_key=_public_pem(key))  # it may have been exported anew meanwhile
    return fingerprint(key.public_key())


def _private_key_from(path: Path, ask: Ask) -> Ed25519PrivateKey:
    name, data = read_key(path)
    try:
        with interruptible():
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise missing_package(error) from error
    try:
        try:
            key = load_pem_private_key(data, None)
        except TypeError:  # it has a passphrase
            key = load_pem_private_key(data, ask())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"{name}: not a private key, or not with this passphrase",
            expected="a PEM file, as hamsa-sign keygen writes it",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{name}: a key of another kind", expected="an Ed25519 key")
    return key


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    except FileExistsError as error:
        raise InputError(
            f"{path}: is there already",
            expected="a new file: what was signed with a lost key cannot be signed again",
            fix="choose another name, or remove the file yourself",
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
    except OSError as error:
        path.unlink()
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def _replace(path: Path, data: bytes) -> None:
    """Writes a file as a whole or not at all."""
    try:
        replace_file(path, data)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror})", fix="sign a copy in a folder that may be written to"
        ) from error
