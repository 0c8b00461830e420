"""What models are fed with: files that users name, calibration sets, and inputs of the graph made of them."""
