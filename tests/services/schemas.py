"""What the servers check their files with."""

from __future__ import annotations

import importlib.util
from importlib.metadata import distribution
from typing import Any

from google.protobuf import text_format


def triton_config(text: str) -> Any:
    """The message of a config.pbtxt, by Triton's own model_config.proto; ParseError for an unknown field or value."""
    path = distribution("tritonclient").locate_file("tritonclient/grpc/model_config_pb2.py")
    # The file alone: its package imports grpc, which nothing here needs.
    spec = importlib.util.spec_from_file_location("model_config_pb2", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse(text, module.ModelConfig())


# The keys of a model's entry in src/schema.cpp of openvinotoolkit/model_server, with their types; no others may be.
MODEL_SERVER_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "base_path": str,
    "batch_size": (int, str),
    "shape": (dict, str),
    "layout": (dict, str),
    "nireq": int,
    "target_device": str,
    "model_version_policy": dict,
    "plugin_config": dict,
}
MODEL_SERVER_NEEDS = {"name", "base_path"}
