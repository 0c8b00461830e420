"""Signed bundles: what is refused, before anything is parsed, and that openssl and we agree on keys and signatures."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hamsa_runtime import Engine, open_bundle
from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.signing import make_keys, sign_bundle

from .external_models import adding, bundle_of, external
from .tiny_bundles import MakeBundle


def no_passphrase() -> bytes:
    pytest.fail("the key has no passphrase")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_keys(tmp_path / "release.pem")
    return tmp_path / "release.pem"


@pytest.fixture
def signed(make_bundle: MakeBundle, key: Path) -> Path:
    folder = make_bundle()
    sign_bundle(folder, key, no_passphrase)
    return folder


def public(key: Path) -> Path:
    return key.with_name(f"{key.stem}.pub.pem")


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_signed_bundle_runs_with_its_key(make_bundle: MakeBundle, key: Path, pixels: np.ndarray, target: str) -> None:
    folder = make_bundle(target)
    sign_bundle(folder, key, no_passphrase)
    for given in (public(key), str(public(key)), public(key).read_bytes()):
        with Engine(folder, public_key=given) as engine:
            assert engine(pixels)["logits"].shape == (5, 4)
    with Engine(folder) as engine:  # nobody asks for the signature
        assert engine(pixels)["logits"].shape == (5, 4)


def change_the_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\n")  # valid JSON, the same content


def break_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"[" * 1000)


def flip_the_signature(folder: Path) -> None:
    data = bytearray((folder / "manifest.sig").read_bytes())
    data[10] ^= 1
    (folder / "manifest.sig").write_bytes(data)


def cut_the_signature(folder: Path) -> None:
    (folder / "manifest.sig").write_bytes((folder / "manifest.sig").read_bytes()[:-1])


def grow_the_signature(folder: Path) -> None:
    (folder / "manifest.sig").write_bytes((folder / "manifest.sig").read_bytes() + b"\n")


def take_the_signature_away(folder: Path) -> None:
    (folder / "manifest.sig").unlink()


def sign_with_another_key(folder: Path) -> None:
    make_keys(folder.parent / "other.pem")
    sign_bundle(folder, folder.parent / "other.pem", no_passphrase)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_the_manifest, "not a signature of this manifest by the key "),
        (break_the_manifest, "not a signature of this manifest by the key "),  # found before it is parsed
        (flip_the_signature, "not a signature of this manifest by the key "),
        (sign_with_another_key, "not a signature of this manifest by the key "),
        (cut_the_signature, "less than 64 bytes"),
        (grow_the_signature, "more than 64 bytes"),
        (take_the_signature_away, "not signed, there is no manifest.sig"),
    ],
)
def test_what_was_not_signed_with_this_key_is_refused(
    signed: Path, key: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], message: str
) -> None:
    damage(signed)
    monkeypatch.setattr("hamsa_runtime.engine.backend_for", lambda *_: pytest.fail("an engine was asked for"))
    with pytest.raises(InputError, match=message) as caught:
        Engine(signed, public_key=public(key))
    assert str(signed) in caught.value.found
    assert caught.value.expected


def test_a_changed_model_is_found_by_its_hash(signed: Path, key: Path) -> None:
    path = signed / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="sha256"):
        Engine(signed, public_key=public(key))


def test_nothing_damaged_is_signed(make_bundle: MakeBundle, key: Path) -> None:
    folder = make_bundle()
    (folder / "model.onnx").write_bytes(b"something else")
    with pytest.raises(InputError, match="sha256"):
        sign_bundle(folder, key, no_passphrase)
    assert not (folder / "manifest.sig").exists()


def test_keys_that_are_none(signed: Path, key: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", tmp_path / "x.pem"], check=True)
    subprocess.run(["openssl", "pkey", "-in", tmp_path / "x.pem", "-pubout", "-out", wrong], check=True)
    with pytest.raises(InputError, match="a key of another kind"):
        open_bundle(signed, public_key=wrong)
    with pytest.raises(InputError, match="a private key"):
        open_bundle(signed, public_key=key)
    with pytest.raises(InputError, match="not a public key"):
        open_bundle(signed, public_key=b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(InputError, match="no such file"):
        open_bundle(signed, public_key=tmp_path / "nowhere.pem")
    with pytest.raises(InputError, match="not a private key"):
        sign_bundle(signed, public(key), no_passphrase)


def small_order_points() -> set[bytes]:
    """All ways to write a point P of the curve (RFC 8032, 5.1) with 8 P = 0: y, y + p if it fits, both signs."""
    p = 2**255 - 19
    d = -121665 * pow(121666, p - 2, p) % p
    i = pow(2, (p - 1) // 4, p)

    def root(square: int) -> int | None:
        candidate = pow(square, (p + 3) // 8, p)
        return next((r for r in (candidate, candidate * i % p) if r * r % p == square), None)

    def double(x: int, y: int) -> tuple[int, int]:
        t = d * x * x * y * y % p
        return 2 * x * y * pow(1 + t, p - 2, p) % p, (y * y + x * x) * pow(1 - t, p - 2, p) % p

    # Of order 8: 2 P has y = 0, so that x^2 + y^2 = 0 and d y^4 + 2 y^2 - 1 = 0.
    eight = root((1 + d) % p) or pytest.fail("d + 1 is no square")
    squares = [(s * eight - 1) * pow(d, p - 2, p) % p for s in (1, -1)]
    found = {0, 1, p - 1} | {y for each in squares if (y := root(each)) is not None}
    found |= {p - y for y in found if y > 1}
    for y in found:
        x = root((y * y - 1) * pow(d * y * y + 1, p - 2, p) % p)
        assert x is not None
        point = (x, y)
        for _ in range(3):
            point = double(*point)
        assert point == (0, 1)
    values = found | {y + p for y in found if y + p < 2**255}
    return {(y | sign << 255).to_bytes(32, "little") for y in values for sign in (0, 1)}


def pem_of(key: bytes) -> bytes:
    body = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + key).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode()


def test_keys_of_small_order_are_refused(signed: Path) -> None:
    """With R = 0 and S = 0, what anybody can write is a signature for them."""
    points = small_order_points()
    assert len(points) == 14
    (signed / "manifest.sig").write_bytes(bytes([1]) + bytes(63))
    for point in points:
        with pytest.raises(InputError, match="the key: a key of small order"):
            Engine(signed, public_key=pem_of(point))


def test_nothing_open_is_signed(make_bundle: MakeBundle, key: Path, tmp_path: Path) -> None:
    folder = make_bundle()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt: not listed"):
        sign_bundle(folder, key, no_passphrase)
    model = adding(external(location=".w"))
    with pytest.raises(InputError, match="does not list"):
        sign_bundle(bundle_of(model, tmp_path / "open"), key, no_passphrase)
    assert not [*tmp_path.rglob("manifest.sig")]


def test_openssl_makes_keys_and_signatures_that_are_taken(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder, private, known = make_bundle(), tmp_path / "k.pem", tmp_path / "k.pub.pem"
    sign: list[str | Path] = ["openssl", "pkeyutl", "-sign", "-inkey", private, "-rawin"]
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", known], check=True)
    subprocess.run([*sign, "-in", folder / "manifest.json", "-out", folder / "manifest.sig"], check=True)
    open_bundle(folder, public_key=known).verify()


def test_openssl_verifies_our_signature(signed: Path, key: Path) -> None:
    verify: list[str | Path] = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public(key), "-rawin"]
    result = subprocess.run(
        [*verify, "-in", signed / "manifest.json", "-sigfile", signed / "manifest.sig"], capture_output=True, text=True
    )
    assert result.returncode == 0
    assert "Verified Successfully" in result.stdout


def test_a_private_key_is_for_its_owner_only_and_never_replaced(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with pytest.raises(InputError, match=r"release\.pem: is there already"):
        make_keys(key)
    key.unlink()
    with pytest.raises(InputError, match=r"release\.pub\.pem: is there already"):
        make_keys(key)
    assert not key.exists()
    assert b"PRIVATE KEY" in before


def test_a_passphrase_encrypts_the_key(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder, key = make_bundle(), tmp_path / "secret.pem"
    make_keys(key, b"correct horse")
    assert key.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    with pytest.raises(InputError, match="not with this passphrase"):
        sign_bundle(folder, key, lambda: b"battery staple")
    sign_bundle(folder, key, lambda: b"correct horse")
    open_bundle(folder, public_key=public(key)).verify()


def test_an_interrupted_write_leaves_the_old_signature(
    signed: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in signed.iterdir()}
    monkeypatch.setattr("hamsa_runtime.signing.os.fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        sign_bundle(signed, key, no_passphrase)
    assert {path.name: path.read_bytes() for path in signed.iterdir()} == before


def test_without_the_package_the_extra_is_named(signed: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingError, match="cryptography") as caught:
        Engine(signed, public_key=public(key))
    assert caught.value.fix == "pip install 'hamsa-runtime[signing]'"
    with Engine(signed) as engine:  # not needed where nobody asks
        assert engine.manifest.name == "tiny"


GOLDEN = Path(__file__).parents[2] / "runtimes/cpp/tests/data/signed"


def test_the_golden_signature_is_still_taken(tmp_path: Path) -> None:
    """The bundle that the C++ runtime's tests read as well."""
    folder = shutil.copytree(GOLDEN, tmp_path / "signed")
    open_bundle(folder, public_key=GOLDEN.with_name("signed.pub.pem")).verify()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "name": "other"}))
    with pytest.raises(InputError, match="not a signature of this manifest"):
        open_bundle(folder, public_key=GOLDEN.with_name("signed.pub.pem"))
