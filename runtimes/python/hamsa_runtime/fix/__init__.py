"""ONNX in, ONNX out: DFT and STFT as products with constants, which every engine computes fast and right. No torch.

fix_onnx(path, output) -> a file that is the same everywhere else, verified
transforms_in(path) -> what that would replace
RealTransformsPass() -> the same as a pass for onnx_ir

It needs the packages of hamsa-runtime[fix].
"""

from hamsa_runtime.fix.fixing import Fixed, fix_onnx, transforms_in
from hamsa_runtime.fix.replacement import RealTransformsPass

__all__ = ["Fixed", "RealTransformsPass", "fix_onnx", "transforms_in"]
