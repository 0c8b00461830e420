"""The ONNX entrance: a file that somebody else exported, its DFT and STFT operators replaced by real products.

    path ──load_onnx──▶ OnnxFile ──form_of_file──▶ RealForm, from where on it goes as for any export

`OnnxReferee` says what the file computes.
"""

from hamsa_deploy.onnx_entrance.form import form_of_file
from hamsa_deploy.onnx_entrance.loading import OnnxFile, load_onnx
from hamsa_deploy.onnx_entrance.referee import OnnxReferee
from hamsa_deploy.onnx_entrance.replacement import real_onnx

__all__ = ["OnnxFile", "OnnxReferee", "form_of_file", "load_onnx", "real_onnx"]
