"""By what, where and when a section of a report was made."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from hamsa_deploy.bench.report import versions_here
from hamsa_deploy.measure.processor import processor_name


def provenance(command: Sequence[str]) -> dict[str, Any]:
    """What every section has.

    Args:
        command: with its arguments; empty for a call from Python.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "command": shlex.join(command),
        "written": now.isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC"),
        "machine": processor_name(),
        "versions": versions_here(),
    }


def export_command(manifest: Mapping[str, Any]) -> str:
    """The export that a manifest tells of, as far as it does: file names of data and limits are not in it."""
    model = manifest["model"]
    parts = ["hamsa-export"]
    is_file = model["weights"] is not None and model["weights"]["file"] == model["reference"]
    parts += ["--onnx" if is_file else "--model", model["reference"]]
    if model["weights"] is not None and not is_file:
        parts += ["--weights", model["weights"]["file"]]
    if not is_file:
        parts += [part for key, value in model["config"].items() for part in ("--set", f"{key}={value!r}")]
    return shlex.join([*parts, "--to", manifest["target"], f"--{manifest['precision']}"])
