"""`hamsa-sign`: makes keys, signs bundles, and verifies them, so that a device can refuse what is not yours.

Results go to stdout, errors to stderr. The exit codes are those of hamsa-export.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any

from hamsa_runtime.cli.parser import Parser, run_command
from hamsa_runtime.errors import InputError, printable

DESCRIPTION = (
    "Signs the manifest of a bundle with an Ed25519 key. The manifest holds the hash of every file. "
    "Engine(folder, public_key=...) then refuses any bundle without that signature."
)
PASSPHRASE = "HAMSA_SIGN_PASSPHRASE"  # noqa: S105  # the variable's name


def main(argv: list[str] | None = None, prog: str = "hamsa-sign") -> int:
    """Run the command; returns its exit code."""
    return run_command(parser(prog), argv, _run, "interrupted")


def parser(prog: str = "hamsa-sign") -> Parser:
    """Of the command's line."""
    parser = Parser(prog, DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    keygen = commands.add_parser("keygen", help="make a private key, and its public one")
    keygen.add_argument(
        "key", type=Path, metavar="KEY.pem", help=f"new file; encrypted if the variable {PASSPHRASE} is set"
    )
    keygen.set_defaults(run=_keygen)
    sign = commands.add_parser("sign", help="check a bundle and sign it")
    sign.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder")
    sign.add_argument("--key", type=Path, required=True, metavar="KEY.pem", help="the private key")
    sign.set_defaults(run=_sign)
    verify = commands.add_parser("verify", help="check a bundle and its signature")
    verify.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder")
    verify.add_argument("--public-key", type=Path, required=True, metavar="KEY.pub.pem", help="whose it has to be")
    verify.set_defaults(run=_verify)
    for each in (keygen, sign, verify):
        each.add_log_file()
    return parser


def _run(options: Any) -> int:
    options.run(options)
    return 0


def _keygen(options: Any) -> None:
    from hamsa_runtime.signing import make_keys

    passphrase = os.environ.get(PASSPHRASE)
    public, fingerprint = make_keys(options.key, passphrase.encode() if passphrase else None)
    print(f"private key  {printable(str(options.key))}: keep it secret, and keep a copy")
    print(f"public key   {printable(str(public))}: for devices")
    print(f"fingerprint  {fingerprint}")


def _sign(options: Any) -> None:
    from hamsa_runtime.signing import sign_bundle

    fingerprint = sign_bundle(options.bundle, options.key, _passphrase)
    print(f"{printable(str(options.bundle))}: signed with the key {fingerprint}")


def _verify(options: Any) -> None:
    from hamsa_runtime.bundle import open_bundle
    from hamsa_runtime.signature import fingerprint, public_key_from

    open_bundle(options.bundle, public_key=options.public_key).verify()
    found = fingerprint(public_key_from(options.public_key))
    print(f"{printable(str(options.bundle))}: whole, and signed with the key {found}")


def _passphrase() -> bytes:
    given = os.environ.get(PASSPHRASE)
    if given is None and not sys.stdin.isatty():
        raise InputError(
            "the key has a passphrase, and there is no terminal to ask for it at",
            fix=f"set the environment variable {PASSPHRASE}",
        )
    return (getpass.getpass("Passphrase: ") if given is None else given).encode()


if __name__ == "__main__":
    sys.exit(main())
