"""ONNX in, ONNX out: a file whose DFT and STFT nodes are products, and that is the same bytes everywhere else.

    file ──read_onnx──▶ protobuf ──▶ ir ──replace_transforms──▶ what is replaced ──▶ the same protobuf, nodes exchanged

The graph is understood as onnx_ir's, and changed as it lies in the file: what no reader knows is kept as well. External
data are neither read nor written, but copied where the new file is to lie in another folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.inliner
import onnx_ir as ir

from hamsa_runtime.bundle import sha256_of
from hamsa_runtime.errors import InputError
from hamsa_runtime.fix.loading import MAX_BYTES, read_onnx, understood
from hamsa_runtime.fix.operators import Dft, Stft, name_of, spectral_nodes
from hamsa_runtime.fix.replacement import (
    Replaced,
    Replacement,
    not_inlined,
    operators_in,
    replace_transforms,
    spectral_functions,
)
from hamsa_runtime.fix.verification import verify_nodes
from hamsa_runtime.fix.whole_file import Whole, compare
from hamsa_runtime.folders import are_one, check_new
from hamsa_runtime.whole_files import replace_file, temporary_folder


@dataclass(frozen=True)
class Fixed:
    """What became of a file.

    Attributes:
        replaced: the nodes, in the order in which they run; none where there was nothing to replace.
        errors: of what stands in for each, against numpy.fft in float64, relative to the largest value.
        inlined: whether functions of the file were written out where they are called.
        nodes: how many nodes the file had and has, those of subgraphs included.
        matrix_bytes: of new constants.
        whole: what running both files has shown; None where there was nothing to replace.
    """

    replaced: tuple[Replaced, ...]
    errors: tuple[float, ...]
    inlined: bool
    nodes: tuple[int, int]
    matrix_bytes: int
    whole: Whole | None


def fix_onnx(path: str | Path, output: str | Path, *, overwrite: bool = False) -> Fixed:
    """Write an ONNX file again, its DFT and STFT nodes replaced by products with constants, and check it.

    Args:
        path: a file of opset 17 or later, or without these operators: that is copied.
        output: the file to write, by one rename; external data are copied beside it.
        overwrite: whether that may be the file itself.

    Raises:
        InputError: no valid ONNX file; an output that cannot be written, or that is the file itself or its data.
        UnsupportedTransformError: a DFT along an axis of dynamic length, or a length that the graph computes; names
            each such node.
        ParityError: the new file does not compute what the old one does. Nothing is written.
    """
    path, output = Path(path), Path(output)
    proto, data = read_onnx(path)
    _check_output(path, output, data, overwrite)
    fixed, replacement, inlined = fixed_proto(proto, path)
    content = path.read_bytes() if not replacement.replaced else _serialised(path, fixed)
    whole, errors = None, []
    if replacement.replaced:
        opset = next(each.version for each in fixed.opset_import if each.domain in ("", "ai.onnx"))
        errors = verify_nodes(replacement, opset, fixed.ir_version)
        whole = compare(path, content, [each.operator for each in replacement.replaced], data)
    _write(path, output, data, content)
    return Fixed(
        replacement.replaced,
        tuple(errors),
        inlined,
        (_number_of_nodes(proto.graph), _number_of_nodes(fixed.graph)),
        sum(tensor.nbytes for tensor in replacement.constants),
        whole,
    )


def transforms_in(path: str | Path) -> list[tuple[str, Dft | Stft]]:
    """The nodes that `fix_onnx` would replace, by name, and what each computes; those of a function once for each call.

    Raises:
        InputError, UnsupportedTransformError: as for `fix_onnx`.
    """
    proto, _ = read_onnx(Path(path))
    model = understood(_inlined(proto, Path(path)), Path(path))
    operators = operators_in(model)
    return [(name_of(node), each) for node, (each, _) in zip(spectral_nodes(model), operators, strict=True)]


def fixed_proto(proto: onnx.ModelProto, path: Path) -> tuple[onnx.ModelProto, Replacement, bool]:
    """A copy of the model with its nodes exchanged, what was replaced, and whether functions were inlined.

    Args:
        path: where it was read from; its external data lie beside it.
    """
    written_out = _inlined(proto, path)
    model = understood(written_out, path)
    fixed = onnx.ModelProto()
    fixed.CopyFrom(written_out)
    before = _tree(model.graph)
    replacement = replace_transforms(model)
    new = {id(each.node): [ir.to_proto(node) for node in each.nodes] for each in replacement.replaced}
    new |= {id(node): [] for node in replacement.unused if isinstance(node, ir.Node)}
    unused = {value.name for value in replacement.unused if isinstance(value, ir.Value)}
    if new:
        _exchange(fixed.graph, before, new, unused)
        fixed.graph.initializer.extend(ir.to_proto(tensor) for tensor in replacement.constants)
    return fixed, replacement, written_out is not proto


def _inlined(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """With functions that hold a transform written out where they are called, all else as it is; itself without such.

    By onnx's own inliner: onnx_ir, which the pass for its models uses, drops what it does not know.
    """
    if not (holding := spectral_functions(understood(proto, path))):
        return proto
    try:
        return onnx.inliner.inline_selected_functions(proto, [(domain, name) for domain, name, _ in holding])
    except Exception as error:  # in classes of C++'s or Python's
        raise not_inlined(error) from error


@dataclass(frozen=True)
class _Place:
    """A node as it was, and its subgraphs by attribute."""

    node: ir.Node
    graphs: Mapping[str, list[list[_Place]]]


def _tree(graph: ir.Graph) -> list[_Place]:
    return [
        _Place(
            node, {name: [_tree(each) for each in _graphs(attribute)] for name, attribute in node.attributes.items()}
        )
        for node in graph
    ]


def _graphs(attribute: ir.Attr) -> Sequence[ir.Graph]:
    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.as_graph()]
    return attribute.as_graphs() if attribute.type == ir.AttributeType.GRAPHS else []


def _exchange(
    graph: onnx.GraphProto,
    places: Sequence[_Place],
    new: Mapping[int, list[onnx.NodeProto]],
    unused: Collection[str | None],
) -> None:
    """Put new nodes in the places of others, and drop initializers; what is not exchanged is copied as it is."""
    nodes: list[onnx.NodeProto] = []
    for proto, place in zip(graph.node, places, strict=True):
        for attribute in proto.attribute:
            inner = [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
            for each, tree in zip(inner, place.graphs[attribute.name], strict=True):
                _exchange(each, tree, new, unused)
        nodes += new.get(id(place.node), [proto])
    if any(id(place.node) in new for place in places):
        nodes = [_copied(node) for node in nodes]
        del graph.node[:]
        graph.node.extend(nodes)
    for index in reversed([i for i, tensor in enumerate(graph.initializer) if tensor.name in unused]):
        del graph.initializer[index]


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _number_of_nodes(graph: onnx.GraphProto) -> int:
    inner = [each for node in graph.node for a in node.attribute for each in ([a.g] if a.HasField("g") else a.graphs)]
    return len(graph.node) + sum(map(_number_of_nodes, inner))


def _serialised(path: Path, proto: onnx.ModelProto) -> bytes:
    size = proto.ByteSize()
    if size > MAX_BYTES:
        raise InputError(
            f"{path} would have {size} bytes with its matrices",
            expected=f"at most {MAX_BYTES}, which is all that protobuf can hold",
            fix="move its weights into external data first: onnx.save(model, path, save_as_external_data=True)",
        )
    return proto.SerializeToString()


def _check_output(path: Path, output: Path, data: Sequence[Path], overwrite: bool) -> None:
    """Nothing that is read, or copied along, may be written, but for the model itself where that is asked for."""
    check_new(output)
    if output.is_dir() or not output.parent.is_dir():
        raise InputError(
            f"{output}: {'a folder' if output.is_dir() else 'in no folder that exists'}", expected="a file"
        )
    if any(are_one(output.name, file.relative_to(path.parent).as_posix()) for file in data):
        raise InputError(
            f"{output} is called as the weights of {path} are",
            expected="a name of its own: they lie beside the new file as beside the old one",
        )
    if not output.exists():
        return
    if any(output.samefile(file) for file in data):
        raise InputError(f"{output} holds the weights of {path}", expected="another file to write")
    if output.samefile(path) and not overwrite:
        raise InputError(
            f"{output} is the file that is read", expected="another file to write", fix="allow it with --overwrite"
        )


def _write(path: Path, output: Path, data: Sequence[Path], content: bytes) -> None:
    """External data first, so that the model never names what is not there."""
    try:
        if not output.parent.samefile(path.parent):
            for file in data:
                _copy(file, output.parent / file.relative_to(path.parent))
        replace_file(output, content)
    except OSError as error:
        raise InputError(
            f"{output}: cannot be written ({error.strerror})", fix="another folder, or free space"
        ) from error


def _copy(source: Path, target: Path) -> None:
    """By one rename. Another file of that name may be another model's."""
    if target.exists():
        if sha256_of(target) == sha256_of(source):
            return
        raise InputError(
            f"{target} is there, and is not a copy of {source}",
            expected="a folder without it, because the new file names its weights as the old one does",
            fix="write into another folder",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target) as folder:
        shutil.copyfile(source, folder / target.name)
        (folder / target.name).replace(target)
