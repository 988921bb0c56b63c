"""Quantized networks as `.tflite` files, and LiteRT to run them: what the backends for TFLite's machines share."""
