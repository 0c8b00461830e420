"""The signature of a bundle: `manifest.sig`, Ed25519 (RFC 8032) over the bytes of manifest.json.

The manifest holds the hash of every file, so that one signature of 64 bytes covers the bundle. Keys are PEM files as
`openssl genpkey -algorithm ed25519` makes them: PKCS#8 for the private key, SubjectPublicKeyInfo for the public one.
The package cryptography computes; it is imported here, when a signature is asked for.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.folders import is_file
from hamsa_runtime.interrupts import interruptible
from hamsa_runtime.vocabulary import SIGNATURE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE_BYTES = 64
# The field of Curve25519, and the y of its points of order 4, of order 1 (and p - 1 of order 2), and of order 8.
PRIME = 2**255 - 19
SMALL_ORDER = (0, 1, 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7)
MAX_KEY_BYTES = 2**16  # a PEM file has 113 bytes; more is something else

# The path of a PEM file, or its content.
Key = str | os.PathLike[str] | bytes


def missing_package(error: ImportError) -> MissingError:
    """The error for a device without the package that signs and verifies."""
    return MissingError(
        f"the package cryptography cannot be imported: {error}",
        expected="what computes signatures",
        fix="pip install 'hamsa-runtime[signing]'",
    )


def check_signature(folder: Path, manifest: bytes, public_key: Key) -> str:
    """Verifies the signature in a bundle's folder; nothing is parsed but the key.

    Args:
        folder: the bundle.
        manifest: the bytes of its manifest.json, the same that are parsed afterwards.
        public_key: the path of a PEM file, or its content, from a place that whoever changes bundles cannot write to.

    Returns:
        The fingerprint of the key.

    Raises:
        InputError: the key cannot be read or is not a public Ed25519 key; or the bundle is not signed, was changed
            since, or was signed with another key.
        MissingError: the package cryptography is not installed.
    """
    key = public_key_from(public_key)
    signature = _signature_of(folder)
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, manifest)
    except InvalidSignature as error:
        raise InputError(
            f"{folder / SIGNATURE}: not a signature of this manifest by the key {fingerprint(key)}",
            expected="a bundle as it was signed, and the public key of who signed it",
            cause="the manifest was changed after it was signed, or it was signed with another key",
            fix="get the bundle again from where it was signed; do not run this one",
        ) from error
    return fingerprint(key)


def public_key_from(source: Key) -> Ed25519PublicKey:
    """The key in a PEM file, or in the content of one; InputError if there is none."""
    name, data = read_key(source)
    if b"PRIVATE KEY" in data:
        raise InputError(
            f"{name}: a private key",
            expected="the public key that belongs to it",
            fix="keep the private key away from devices; openssl pkey -in KEY.pem -pubout prints the public one",
        )
    try:
        with interruptible():
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
            from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise missing_package(error) from error
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{name}: not a public key", expected="a PEM file, as hamsa-sign keygen writes it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{name}: a key of another kind", expected="an Ed25519 key")
    if _is_of_small_order(_raw(key)):
        raise InputError(
            f"{name}: a key of small order",
            expected="a key that hamsa-sign keygen has made",
            cause="a key that was made to be valid for signatures that anybody can write",
            fix="get the public key of who signs your bundles",
        )
    return key


def _is_of_small_order(key: bytes) -> bool:
    """Whether a key is one of the eight points whose eightfold is the identity, in any way to write it.

    It is y in 255 bits, little-endian, and the sign of x (RFC 8032, 5.1.2); p - y and the other sign are points of the
    same order, and some programs also take y + p.
    """
    y = int.from_bytes(key, "little") % 2**255 % PRIME
    return y in SMALL_ORDER or PRIME - y in SMALL_ORDER


def fingerprint(key: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of the sha256 of the key's 32 bytes: for people to compare, not for programs."""
    return hashlib.sha256(_raw(key)).hexdigest()[:16]


def _raw(key: Ed25519PublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def read_key(source: Key) -> tuple[str, bytes]:
    """What to call a key in messages, and its PEM."""
    if isinstance(source, bytes):
        return "the key", source
    path = Path(source)
    if not is_file(path):  # also keeps pipes and devices from being opened
        raise InputError(f"{path}: no such file", expected="a key in a PEM file")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_KEY_BYTES:
        raise InputError(f"{path}: more than {MAX_KEY_BYTES} bytes", expected="a key in a PEM file")
    return str(path), data


def _signature_of(folder: Path) -> bytes:
    path = folder / SIGNATURE
    if not is_file(path):
        raise InputError(
            f"{folder}: not signed, there is no {SIGNATURE}",
            expected="a signed bundle, because a public key was given",
            cause="it was exported anew, or whoever changed it could not sign it",
            fix="get the signed bundle, or sign it where the private key is: hamsa-sign sign BUNDLE --key KEY.pem",
        )
    try:
        with path.open("rb") as stream:
            signature = stream.read(SIGNATURE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(signature) != SIGNATURE_BYTES:
        raise InputError(
            f"{path}: {'more' if len(signature) > SIGNATURE_BYTES else 'less'} than {SIGNATURE_BYTES} bytes",
            expected=f"an Ed25519 signature, {SIGNATURE_BYTES} bytes",
        )
    return signature
