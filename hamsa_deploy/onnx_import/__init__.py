"""A file that somebody else exported, its DFT and STFT operators replaced by real products.

    path ──load_onnx──▶ OnnxFile ──real_onnx──▶ ONNX in real arithmetic, from where on it goes as for any export

`ReferenceSession` says what the file computes.
"""

from hamsa_deploy.onnx_import.replacement import real_onnx
from hamsa_runtime.fix.loading import OnnxFile, load_onnx
from hamsa_runtime.fix.reference_session import ReferenceSession

__all__ = ["OnnxFile", "ReferenceSession", "load_onnx", "real_onnx"]
