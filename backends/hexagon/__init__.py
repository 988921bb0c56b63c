"""Qualcomm Hexagon with HVX: int8 kernels in its vector instructions, linked and run without the vendor's SDK.

model_run              the network as a static program, which QEMU's user-mode emulation runs
model.h, libmodel.a    for a program of the vendor's SDK, with the sources of the small runtime
"""
