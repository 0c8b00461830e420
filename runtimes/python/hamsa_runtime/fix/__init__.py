"""ONNX in, ONNX out: DFT and STFT as products with constants, which every engine computes fast and right. No torch."""
