"""Templates: one file a kernel kind, each writing TIR functions for a workload, a tile and an ISA.

A template is a pure function `workload, tile -> PrimFunc`. Every function it writes has the same form,

    int32 name(T *buffer, ..., int32 begin, int32 end)

and does iterations [begin, end) of its outermost loop, so that a thread pool can share one call out.
Iterations write disjoint memory and do the same arithmetic whoever runs them: results do not depend on
the number of threads.
"""
