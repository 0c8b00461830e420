"""Servers that bundles are written for: one file each, one line each in `SERVICES`.

Their repositories have a folder for each model, and in it one for each version, which is a number:

    REPOSITORY/<name>/1/        the bundle, as every other: an `Engine` runs it, hamsa-parity compares it
    REPOSITORY/<name>/2/        what was exported later; the servers take the highest number

What the server has to be told lies around them, and is written from the manifest of the newest version, after it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple

from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_file, is_folder, is_there, listed


class Service(NamedTuple):
    """The target that a server runs, and the module that writes its files.

    The module has `check(repository)`, which raises InputError where they cannot be written, and
    `configure(repository, name, manifest)`, which writes them and returns their paths.
    """

    target: str
    module: str


SERVICES = {
    "triton": Service("tensorrt", "hamsa_deploy.services.triton"),
    "openvino-model-server": Service("openvino", "hamsa_deploy.services.openvino_model_server"),
}


def next_version(service: str, repository: Path, name: str) -> Path:
    """The folder for the next version of a model; the first is 1.

    Raises:
        InputError: the repository is a bundle or a file, or holds a file that the server cannot read.
    """
    if is_there(repository / "manifest.json") or is_file(repository):
        raise InputError(
            f"{repository}: not a model repository",
            expected="a folder with one folder for each model, or a new one",
            cause="a bundle or a file is there",
            fix="another folder after -o",
        )
    importlib.import_module(SERVICES[service].module).check(repository)
    folder = repository / name
    # The servers skip names that begin with 0, so that 01 is not version 1.
    names = [path.name for path in listed(folder)] if is_folder(folder) else []
    versions = [int(each) for each in names if each.isdecimal() and not each.startswith("0")]
    return folder / str(max(versions, default=0) + 1)


def configure(service: str, repository: Path, bundle: Bundle) -> list[Path]:
    """Tell the server about a version that was published in `repository`; returns the files that were written.

    Raises:
        InputError: they cannot be written.
    """
    module = importlib.import_module(SERVICES[service].module)
    try:
        files: list[Path] = module.configure(repository, bundle.folder.parent.name, bundle.manifest)
    except OSError as error:
        raise InputError(
            f"{repository}: the server's files cannot be written ({error.strerror})",
            expected="a place with enough room that may be written to",
            fix=f"export once more when there is; {bundle.folder} is whole, but the server has not been told of it",
        ) from error
    return files
