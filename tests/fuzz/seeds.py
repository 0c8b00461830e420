"""The good inputs from which fuzzing starts: python tests/fuzz/seeds.py writes them to tests/fuzz/corpus/."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import soundfile
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save

CORPUS = Path(__file__).parent / "corpus"
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests import odd_bmp_webp, odd_images  # noqa: E402
from tests.fuzz.targets import IDENTITY, PLAN, tiny_model  # noqa: E402
from tests.runtime.manifest_values import complete  # noqa: E402
from tests.runtime.tiny_bundles import manifest_for  # noqa: E402

IR = b"""<?xml version="1.0"?>
<net name="g" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="1,4" element_type="f32"/>
<output><port id="0" precision="FP32"><dim>1</dim><dim>4</dim></port></output></layer>
<layer id="1" name="w" type="Const" version="opset1"><data element_type="f32" shape="4" offset="0" size="16"/>
<output><port id="0" precision="FP32"><dim>4</dim></port></output></layer>
</layers><edges/></net>
"""


def seeds() -> dict[str, bytes]:
    """'target/name' -> bytes."""
    parity = {"reference": "torch", "images": 1, "metrics": {"cosine": 1.0}, "thresholds": {}, "passed": True}
    files = {"model.onnx": {"sha256": "0" * 64, "bytes": 1}}
    state = tiny_model().state_dict()
    sha256 = hashlib.sha256(PLAN).hexdigest()
    model = _onnx_file(external=False)
    entry = {"identity": IDENTITY, "sha256": sha256, "bytes": 6, "seconds": 1.0, "asked": {}, "achieved": None}
    of_model = {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)}
    listed = manifest_for(files={"model.onnx": of_model})
    array = io.BytesIO()
    np.save(array, np.arange(6, dtype=np.float32).reshape(2, 3))
    return {
        "manifest/image": json.dumps(manifest_for(files=files)).encode(),
        "manifest/arrays": json.dumps(manifest_for(preprocessing=None, labels=None, parity=parity)).encode(),
        "manifest/complete": json.dumps(complete()).encode(),
        "bundle/good": json.dumps(listed).encode() + b"\0" + model,
        "npy/good": array.getvalue(),
        "npz/good": _npz_file(),
        "recipe/int8": b'to = "openvino"\nprecision = "int8"\nmax-drop = 0.5\nwithout = ["smooth"]\nbatch = 1\n',
        "recipe/rtx": b'to = "tensorrt-rtx"\nbatch-profile = [1, 1, 8]\nset = ["image_size=64"]\nrequire-plan = true\n',
        "safetensors/good": save({name: value.contiguous() for name, value in state.items()}),
        "checkpoint/zip": _torch_file(dict(state), zipped=True),
        "checkpoint/old": _torch_file({"model": dict(state)}, zipped=False),
        "onnx/dft": _onnx_file(external=False),
        "onnx/external": _onnx_file(external=True),
        "external/initializer": _onnx_file(external=True),
        "external/everywhere": _external_everywhere(),
        "ir/good": IR,
        **{f"image/{name.lower()}": _image_file(name) for name in ("JPEG", "PNG", "BMP", "WEBP")},
        **{f"image/{name}": data for name, data in _odd_images().items()},
        "cache/good": json.dumps(entry).encode(),
        **{f"wav/{subtype.lower()}": _wav_file("WAVEX", subtype) for subtype in ("PCM_U8", "PCM_16", "FLOAT")},
        "wav/flac": _wav_file("FLAC", "PCM_16"),
        "wav/listed": b"RIFF\x33\0\0\0WAVELIST\x01\0\0\0a\0" + _wav_file("WAV", "PCM_24")[12:],
    }


def _torch_file(content: object, *, zipped: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def _onnx_file(*, external: bool) -> bytes:
    """y = DFT(x) + weight."""
    weight = numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(4, 1), "weight")
    if external:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "weights.bin", "offset": "0", "length": "16"}.items():
            weight.external_data.add(key=key, value=value)
    nodes = [helper.make_node("DFT", ["x"], ["f"], onesided=0), helper.make_node("Add", ["f", "weight"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4, 1 + i]) for i, name in enumerate("xy")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    data: bytes = model.SerializeToString()
    onnx.load_model_from_string(data)
    return data


def _external_everywhere() -> bytes:
    """Data elsewhere of a sparse tensor, in an attribute of a node of a subgraph, and in a function."""
    model = onnx.load_model_from_string(_onnx_file(external=True))
    [weight] = model.graph.initializer
    model.graph.sparse_initializer.add(values=weight, indices=weight)
    branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=weight)], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], [], then_branch=branch, else_branch=branch))
    constant = helper.make_node("Constant", [], ["c"], value=weight)
    opset = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("own", "f", [], ["c"], [constant], opset))
    data: bytes = model.SerializeToString()
    return data


def _npz_file() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(6, dtype=np.float32).reshape(2, 3), b=np.array([True, False]))
    return stream.getvalue()


def _image_file(name: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    options = {} if name == "BMP" else {"exif": exif}
    Image.fromarray(pixels).save(stream, name, **options)
    return stream.getvalue()


def _odd_images() -> dict[str, bytes]:
    """Files that say their orientation in other places, with palettes, passes and scans."""
    profile = b"Raw profile type exif"
    start = odd_images.chunk(b"IHDR", odd_images.header(4, 3, 11, 9, b"\0\0\1"))
    palette = odd_images.chunk(b"PLTE", bytes(range(48)))
    pixels = odd_images.chunk(b"IDAT", zlib.compress(odd_images.adam7(4, 1, 9, 11)))
    texts = (
        odd_images.zipped_text(profile, odd_images.raw_profile(odd_images.turn(6))),
        odd_images.international(zlib.compress(odd_images.xmp(8)), b"\1\0"),
    )
    coarse = odd_images.encoded(odd_images.picture(), "JPEG", progressive=True)
    packets = odd_images.app1(odd_images.turn(0)), odd_images.xmp_segment(odd_images.xmp(5))
    inks = odd_images.encoded(odd_images.noise(6, 8, 4), "JPEG", "CMYK")
    return {
        "png_texts": odd_images.png(start, palette, texts[0], pixels, texts[1], odd_images.IEND),
        "jpeg_progressive": odd_images.with_segments(coarse, *packets),
        "jpeg_inks": odd_images.with_segments(inks, odd_images.app1(odd_images.turn(3, 9, order=">"))),
        "bmp_palette": odd_bmp_webp.bmp(4, 11, -9, header=108, colours=10),
        "bmp_masks": odd_bmp_webp.bmp(32, 5, 4, packing=3, masks=odd_bmp_webp.USUAL_MASKS),
        "webp_frames": _frames(),
    }


def _frames() -> bytes:
    """An animation, with all that says which way up it is."""
    frame = odd_bmp_webp.frame(odd_bmp_webp.pictures()["lossless"])
    texts = odd_bmp_webp.part(b"EXIF", odd_images.turn(6)), odd_bmp_webp.part(b"XMP ", odd_images.xmp(8))
    return odd_bmp_webp.webp(odd_bmp_webp.canvas(14), frame, frame, *texts)


def _wav_file(kind: str, subtype: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.sin(np.arange(40) / 3), 16000, subtype, format=kind)
    return stream.getvalue()


def main() -> None:
    for name, data in seeds().items():
        path = CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
