"""From the steps of a network to ONNX nodes; `mdcompiler.lower` is the way in."""
