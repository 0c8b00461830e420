"""OpenVINO Model Server: ``config.json`` at the top of the repository, with an entry for each model in it.

Keys as in the schema that the server checks it with (src/schema.cpp of openvinotoolkit/model_server). The device and
the precision are those that parity was computed with: left to itself, OpenVINO computes float32 models in bfloat16 on
CPUs that can. Streams and the number of requests are left to the server.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hamsa_runtime.backends.openvino import hint_and_precision
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_there
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.whole_files import replace_file

CONFIG = "config.json"


def check(repository: Path) -> None:
    """Raise InputError if the file is there and is not what the server reads."""
    _read(repository / CONFIG)


def configure(repository: Path, name: str, manifest: Manifest) -> list[Path]:
    """Write the file, keeping the entries of other models; see `hamsa_deploy.services.configure`."""
    path = repository / CONFIG
    document = _read(path)
    others = [entry for entry in document["model_config_list"] if entry["config"]["name"] != name]
    document["model_config_list"] = [*others, {"config": entry_of(name, manifest)}]
    replace_file(path, (json.dumps(document, indent=2) + "\n").encode())
    return [path]


def entry_of(name: str, manifest: Manifest) -> dict[str, Any]:
    """What the server has to know about a model."""
    hint, _ = hint_and_precision(manifest)
    return {
        "name": name,
        "base_path": name,  # relative to the file
        "target_device": "CPU",
        "plugin_config": {"INFERENCE_PRECISION_HINT": hint},
    }


def _read(path: Path) -> dict[str, Any]:
    """The file that is there, or an empty one."""
    if not is_there(path):
        return {"model_config_list": []}
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        _ = [entry["config"]["name"] for entry in document["model_config_list"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a configuration of OpenVINO Model Server ({error!r})",
            expected='{"model_config_list": [{"config": {"name": ..., "base_path": ...}}, ...]}',
            cause="edited by hand, or of something else",
            fix="another folder after -o, or mend the file",
        ) from error
    return document
