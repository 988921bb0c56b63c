"""The C of memory near the arithmetic (VTCM): a program may give it to a context, and need not.

Each part is a piece of `model.h` or `model.c`; all but `macros` are empty for a model that wants none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NearMemory:
    """macros: how a place in the arena is written. declarations: of the functions that a program may define, and hooks:
    the library's own, which give nothing. field, frame_fields: in context and frame. create, destroy, fill: statements
    of the functions that make and release a context, and fill in a frame.
    """

    macros: str = "#define ARENA(offset) (f->arena + (offset))\n"
    declarations: str = ""
    field: str = ""
    frame_fields: str = ""
    hooks: str = ""
    create: str = ""
    destroy: str = ""
    fill: str = ""


def near_memory(near_bytes: int, alignment_bytes: int, prefix: str) -> NearMemory:
    """The C for the first `near_bytes` of the arena, which may lie elsewhere. prefix: of the model's C names."""
    if not near_bytes:
        return NearMemory()
    return NearMemory(
        macros=f"""#define NEAR_BYTES {near_bytes}
#define ARENA(offset) ((offset) < NEAR_BYTES ? f->near + (offset) : f->arena + (offset))
#define STAGED(near_copy, original) (f->is_near ? (near_copy) : (original))
""",
        declarations=f"""
/* Memory near the vector unit (VTCM), for one context. A program that defines these two gives it: create asks for
 * {prefix}_near_bytes() bytes at a multiple of {alignment_bytes}, destroy hands them back. The library's
 * own give none, and the results are the same without. */
size_t {prefix}_near_bytes(void);
void *{prefix}_near_acquire(size_t bytes);
void {prefix}_near_release(void *memory);
""",
        field="    uint8_t *near; /* NULL: none was given */\n",
        frame_fields="    uint8_t *near;\n    int is_near;\n",
        hooks=f"""EXPORT size_t {prefix}_near_bytes(void) {{ return NEAR_BYTES; }}
__attribute__((weak)) void *{prefix}_near_acquire(size_t bytes) {{
    (void)bytes;
    return NULL;
}}
__attribute__((weak)) void {prefix}_near_release(void *memory) {{ (void)memory; }}

""",
        create=f"    context->near = {prefix}_near_acquire(NEAR_BYTES);\n",
        destroy=f"    if (context->near)\n        {prefix}_near_release(context->near);\n",
        fill="    frame.near = context->near ? context->near : context->arena;\n"
        "    frame.is_near = context->near != NULL;\n",
    )
