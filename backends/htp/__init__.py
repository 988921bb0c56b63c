"""Qualcomm Hexagon HTP (the tensor unit of Snapdragon phones): QNN context binaries, checked on QNN's own emulator."""
