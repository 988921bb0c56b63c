"""NVIDIA GPUs through CUDA: Jetson boards and data-centre cards.

Kernels are CUDA C that TVM writes, compiled by NVIDIA's compiler wheels; the host part is plain C over the driver API.
"""
