"""ONNX file -> OpenVINO IR (model.xml, model.bin)."""

from __future__ import annotations

from pathlib import Path

from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.errors import BuildError, MissingError

FILES = ("model.xml", "model.bin")


def ir_from_onnx(onnx_file: Path, folder: Path) -> None:
    """Convert a typed ONNX file; weights stay in the types that they have there.

    Args:
        onnx_file: the file to read.
        folder: where model.xml and model.bin are written.

    Raises:
        MissingError: openvino is not installed.
        BuildError: OpenVINO cannot read the file; its own message is quoted.
    """
    try:
        with no_usage_reports():
            import openvino
    except ImportError as error:
        raise MissingError(
            "the package openvino is not installed", fix="pip install openvino, or export with --to onnx"
        ) from error
    try:
        model = openvino.Core().read_model(onnx_file)  # convert_model would send a usage report
        openvino.save_model(model, folder / FILES[0], compress_to_fp16=False)
    except Exception as error:
        raise BuildError(
            f"OpenVINO {openvino.__version__} cannot convert {onnx_file.name}: {error}",
            cause="an ONNX operator or type that this version does not read",
            fix="export with --to onnx, or try another OpenVINO version",
        ) from error
