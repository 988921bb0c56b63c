"""`model.h` of a network on the GPU: that of the other C libraries, and `model_error`, for more can go wrong here."""

from __future__ import annotations

from mdcompiler.backends.clib.c_header import framed_header
from mdcompiler.backends.cuda.cuda_source import CudaSource


def header(source: CudaSource, prefix: str) -> str:
    """`model.h`"""
    return framed_header(
        prefix,
        source.tensors,
        ", in memory of the host",
        f"""\
/* Memory on the GPU for one run at a time; contexts share the weights there. threads: not used, as on a CPU. NULL:
 * there is no GPU, it is not the one the model was compiled for, or it lacks memory; {prefix}_error says which. */
{prefix}_context *{prefix}_create(int threads);
void {prefix}_destroy({prefix}_context *context);

/* Run the network; 0 on success. Contexts are independent: use one for each thread that calls. */
int {prefix}_run({prefix}_context *context, {source.parameters});

/* The same without the CUDA graph, adding the nanoseconds spent in each kernel to
 * nanoseconds[0 .. {prefix}_kernel_count() - 1]. */
int {prefix}_profile({prefix}_context *context, {source.parameters}, uint64_t *nanoseconds);
int {prefix}_kernel_count(void);
const char *{prefix}_kernel_name(int index);

/* Why the last call in this thread failed, as a sentence. */
const char *{prefix}_error(void);

/* The GPU in use, once a context exists. */
const char *{prefix}_device(void);

/* Working memory of one context on the GPU. */
size_t {prefix}_arena_bytes(void);
""",
    )
