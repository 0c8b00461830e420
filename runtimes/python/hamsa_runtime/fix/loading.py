"""Safe loading of an ONNX file: path -> `OnnxFile`, or an error that names the file.

Nothing is read that the file merely names, until `external_data` has checked the place; nothing is allocated beyond the
size of the files themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from hamsa_runtime.bundle import sha256_of
from hamsa_runtime.errors import InputError
from hamsa_runtime.file_checks import check_received
from hamsa_runtime.fix.external_data import check_external_data
from hamsa_runtime.onnx_steps import check_steps

# Protobuf's own limit for one message.
MAX_BYTES = 2**31 - 1


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file in memory, checked.

    Attributes:
        path: where it was read from.
        sha256: digest of each file that was read, by its path beside the ONNX file, which comes first.
        model: the graph with all its weights.
    """

    path: Path
    sha256: Mapping[str, str]
    model: ir.Model


def copy_of(model: ir.Model) -> ir.Model:
    """A copy that shares nothing but the weights. (onnx_ir 1.1's `clone` shares types too, which are mutable.)"""
    model = model.clone()
    for graph in model.graphs():
        for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
            if isinstance(value.type, ir.TensorType):
                value.type = ir.TensorType(value.type.dtype)
    return model


def load_onnx(path: str | Path) -> OnnxFile:
    """Read an ONNX file and its external data.

    Raises:
        InputError: no such file; empty, cut, over 2 GiB or no ONNX at all; not valid by the standard's own checker;
            external data outside the model's folder, behind a link, or outside its file; loops without end.
    """
    path = Path(path)
    proto, data = read_onnx(path)
    check_number_of_steps(path)
    if proto.graph.sparse_initializer:  # the reader below drops them without a word
        raise InputError(
            f"{path}: sparse initializers ({len(proto.graph.sparse_initializer)})",
            expected="dense weights",
            fix="write them as dense tensors, as a Constant of them or an initializer",
        )
    model = understood(proto, path)
    try:
        ir.external_data.load_to_model(model)
    except Exception as error:  # the reader raises from many layers, without a common class
        raise _invalid(path, error) from error
    digests = {file.relative_to(path.parent).as_posix(): sha256_of(file)[0] for file in (path, *data)}
    return OnnxFile(path, digests, model)


def read_onnx(path: Path) -> tuple[onnx.ModelProto, list[Path]]:
    """An ONNX file as it is written, and the files that hold its external data, which are checked and not read.

    Raises:
        InputError: see `load_onnx`.
    """
    check_received(path, "model", "an ONNX file")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(
            f"{path} has {path.stat().st_size} bytes",
            expected=f"at most {MAX_BYTES}, which is all that protobuf can hold",
            cause="an exporter that wrote no external data, or another kind of file",
            fix="export it again with external data: onnx.save(model, path, save_as_external_data=True)",
        )
    proto = _parsed(path)
    data = check_external_data(proto, path)
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:  # the checker raises from many layers, without a common class
        raise _invalid(path, error) from error
    return proto, data


def understood(proto: onnx.ModelProto, path: Path) -> ir.Model:
    """The graph of a file that was read from `path`. Its external data are read when they are asked for.

    Raises:
        InputError: what the checker lets pass, and nobody can make a graph of.
    """
    try:
        model = ir.serde.deserialize_model(proto)
        ir.external_data.set_base_dir(model.graph, path.parent)
    except Exception as error:  # the reader raises from many layers, without a common class
        raise _invalid(path, error) from error
    return model


def check_number_of_steps(path: Path) -> None:
    """Refuse a file that runs without end, before something runs it.

    Raises:
        InputError: names the file, and how many nodes it runs.
    """
    try:
        check_steps(path.read_bytes())
    except InputError as error:
        raise InputError(f"{path}: {error.found}", expected=error.expected, cause=error.cause, fix=error.fix) from error


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf's own class differs between its implementations
        raise _invalid(path, error) from error


def _invalid(path: Path, error: Exception) -> InputError:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(
        f"{path} is no valid ONNX file: {text[:300]}",
        expected="an ONNX model that onnx.checker.check_model accepts",
        cause="a file of another type, a cut download, or an exporter's error",
        fix="fetch or export it again",
    )
