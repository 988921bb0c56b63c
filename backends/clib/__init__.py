"""A network as a plain C library: kernels called in order over one planned arena.

    kernels of the graph -> Program (calls, buffers, constants) -> plan -> model.c + objects -> model.so

Every machine that looks like a CPU (x86, Arm, Hexagon) goes this way.
"""
