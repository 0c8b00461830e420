"""Discrete Fourier transforms as products of small matrices: which, and what they cost; numpy only.

What makes operators of them is hamsa_deploy.spectral for PyTorch's graphs, and hamsa_runtime.fix for ONNX's.
"""
