"""hamsa-sign: keys, signatures, what it prints, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamsa_runtime.cli.build import main as build
from hamsa_runtime.cli.sign import main

from ..tiny_bundles import MakeBundle


def test_a_key_a_signature_and_its_verification(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, key = str(make_bundle(folder=tmp_path / "mein Bündel")), str(tmp_path / "release.pem")
    public = str(tmp_path / "release.pub.pem")
    assert main(["keygen", key]) == 0
    fingerprint = capsys.readouterr().out.split()[-1]
    assert len(fingerprint) == 16
    assert main(["verify", folder, "--public-key", public]) == 2
    assert "not signed" in capsys.readouterr().err
    assert main(["sign", folder, "--key", key]) == 0
    assert capsys.readouterr().out == f"{folder}: signed with the key {fingerprint}\n"
    assert main(["verify", folder, "--public-key", public]) == 0
    assert capsys.readouterr().out == f"{folder}: whole, and signed with the key {fingerprint}\n"
    (Path(folder) / "model.onnx").write_bytes(b"something else")
    assert main(["verify", folder, "--public-key", public]) == 2
    assert "sha256" in capsys.readouterr().err


def test_the_passphrase_comes_from_the_environment(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, key = str(make_bundle()), tmp_path / "release.pem"
    monkeypatch.setenv("HAMSA_SIGN_PASSPHRASE", "correct horse")
    assert main(["keygen", str(key)]) == 0
    assert b"ENCRYPTED" in key.read_bytes()
    assert main(["sign", folder, "--key", str(key)]) == 0
    monkeypatch.delenv("HAMSA_SIGN_PASSPHRASE")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert main(["sign", folder, "--key", str(key)]) == 2
    assert "set the environment variable HAMSA_SIGN_PASSPHRASE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["sing"], "invalid choice"),
        (["sign", "bundle"], "--key"),
        (["verify", "bundle"], "--public-key"),
        (["keygen", "{folder}/nowhere/k.pem"], "cannot be written"),
        (["sign", "{folder}", "--key", "{folder}/k.pem"], "no such file"),
    ],
)
def test_bad_usage_exits_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([each.format(folder=tmp_path) for each in arguments]) == 2
    assert message in capsys.readouterr().err


def test_hamsa_build_asks_for_the_signature_before_it_builds(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keygen", str(tmp_path / "k.pem")]) == 0
    bundle = str(make_bundle("tensorrt-rtx", precision="fp16"))
    assert build([bundle, "--public-key", str(tmp_path / "k.pub.pem")]) == 2
    assert "not signed" in capsys.readouterr().err
