"""TFLite files for Google's Edge TPU: written, checked against its compiler's limits, run with LiteRT."""
