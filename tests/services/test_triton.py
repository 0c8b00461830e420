"""config.pbtxt as Triton's own schema reads it, against the manifest that it was written from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.text_format import ParseError

from hamsa_deploy.services import SERVICES, configure
from hamsa_deploy.services.triton import TYPES, config_of
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.manifest import DTYPES, EngineBuild, InputSpec, Manifest, OutputSpec

from ..runtime.tiny_bundles import LABELS, MakeBundle
from .schemas import triton_config

BUILT = EngineBuild("", "tensorrt", "10.13.3", "Linux x86_64", "NVIDIA L4", "8.9", 9.0, {"f16": 3}, None)


@pytest.fixture
def bundle(make_bundle: MakeBundle, tmp_path: Path) -> Bundle:
    return open_bundle(make_bundle("tensorrt", folder=tmp_path / "models" / "Größe 1" / "1", options={"max_batch": 16}))


def changed(manifest: Manifest, **changes: Any) -> Manifest:
    return dataclasses.replace(manifest, **changes)


def test_inputs_outputs_and_labels_are_the_manifests(bundle: Bundle) -> None:
    config = triton_config(config_of("net", bundle.manifest))
    assert [(p.name, p.data_type, list(p.dims)) for p in config.input] == [("image", 2, [8, 12, 3])]  # 2: TYPE_UINT8
    assert [(p.name, list(p.dims), p.label_filename) for p in config.output] == [
        ("embedding", [6], ""),
        ("logits", [4], "labels.txt"),
    ]
    assert (config.name, config.backend, config.default_model_filename) == ("net", "onnxruntime", "model.onnx")


def test_requests_are_joined_up_to_the_batch_of_the_profile(bundle: Bundle) -> None:
    config = triton_config(config_of("net", bundle.manifest))
    assert config.max_batch_size == 16
    assert config.HasField("dynamic_batching")
    [warm_up] = config.model_warmup
    assert warm_up.batch_size == 1
    assert list(warm_up.inputs["image"].dims) == [8, 12, 3]


def test_without_a_free_batch_the_first_dimension_is_listed(make_bundle: MakeBundle) -> None:
    config = triton_config(config_of("net", open_bundle(make_bundle("tensorrt", batch=4)).manifest))
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (0, False)
    assert list(config.input[0].dims) == [4, 8, 12, 3]
    assert list(config.output[1].dims) == [4, 4]
    assert list(config.model_warmup[0].inputs["image"].dims) == [4, 8, 12, 3]


def test_a_free_dimension_beside_the_batch_of_one_of_the_ports_is_minus_one(bundle: Bundle) -> None:
    manifest = changed(
        bundle.manifest,
        preprocessing=None,
        labels=None,
        inputs=(InputSpec("x", "float32", ("batch", 3), None), InputSpec("offset", "int64", (2,), None)),
        outputs=(OutputSpec("y", "float16", ("batch",)),),
    )
    config = triton_config(config_of("net", manifest))
    assert config.max_batch_size == 0
    assert [list(port.dims) for port in (*config.input, *config.output)] == [[-1, 3], [2], [-1]]
    assert list(config.model_warmup[0].inputs["x"].dims) == [1, 3]


def test_a_plan_runs_on_the_tensorrt_backend(bundle: Bundle) -> None:
    config = triton_config(config_of("net", changed(bundle.manifest, engine=BUILT)))
    assert (config.backend, config.default_model_filename) == ("tensorrt", "model.plan")
    missing = dataclasses.replace(BUILT, missing="no GPU")
    assert triton_config(config_of("net", changed(bundle.manifest, engine=missing))).backend == "onnxruntime"


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_of_a_manifest_is_one_of_tritons(bundle: Bundle, dtype: str) -> None:
    manifest = changed(bundle.manifest, outputs=(OutputSpec("y", dtype, ("batch", 2)),))
    [port] = triton_config(config_of("net", manifest)).output
    kind = port.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[port.data_type]
    assert kind.name == TYPES[dtype]


@pytest.mark.parametrize("name", ['a "quoted" name', "Größe", "back\\slash", "two\nlines"])
def test_any_name_is_read_back(bundle: Bundle, name: str) -> None:
    assert triton_config(config_of(name, bundle.manifest)).name == name


def test_the_schema_refuses_what_it_does_not_know(bundle: Bundle) -> None:
    text = config_of("net", bundle.manifest)
    with pytest.raises(ParseError, match="max_batch"):
        triton_config(text.replace("max_batch_size", "max_batch"))
    with pytest.raises(ParseError, match="TYPE_UINT7"):
        triton_config(text.replace("TYPE_UINT8", "TYPE_UINT7"))


def test_the_files_lie_beside_the_versions(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "Größe 1"
    (folder / "config.pbtxt").write_text("of an older version")
    files = configure("triton", tmp_path / "models", bundle)
    assert files == [folder / "config.pbtxt", folder / "labels.txt"]
    assert triton_config(files[0].read_text()).name == "Größe 1"  # Triton wants the folder's name
    assert files[1].read_text().splitlines() == LABELS
    assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt", "labels.txt"]


def test_without_labels_there_is_no_label_file(bundle: Bundle, tmp_path: Path) -> None:
    without = Bundle(bundle.folder, changed(bundle.manifest, labels=None))
    assert [path.name for path in configure("triton", tmp_path / "models", without)] == ["config.pbtxt"]


def test_every_service_is_for_a_target() -> None:
    assert {name: service.target for name, service in SERVICES.items()} == {
        "triton": "tensorrt",
        "openvino-model-server": "openvino",
    }
