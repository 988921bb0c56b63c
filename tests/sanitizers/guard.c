/* `mdc_run_steps` for AddressSanitizer: while a step runs, nothing can be touched but what it says it reads and writes.
 *
 * Everything that a step may reach (the arena, the threads' scratch, the constants, inputs and outputs) is poisoned,
 * and its own spans are opened again. A buffer is filled with 1 bits (NaN for floats) before the first step that uses
 * it, and what a step only reads must be the same bytes afterwards. */
#include "guard_table.h"
#include "mdc_runtime.h"

#include <malloc.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA = 0, SCRATCH = 1, CONSTANTS = -1 };

/* The runtime's own, renamed. */
int mdc_run_steps_plain(struct mdc_pool *pool, const struct mdc_step *steps, int count, const void *frame,
                        uint64_t *nanoseconds);

static uint8_t *base(int place, const void *frame) {
    uint8_t *const *pointers = frame; /* the arena, the scratch, then the tensors in order */
    return place == CONSTANTS ? (uint8_t *)GUARDED_CONSTANTS : pointers[place];
}

static void close_all(const void *frame, size_t scratch_bytes) {
    for (int i = 0; i < GUARDED_PLACES; ++i)
        ASAN_POISON_MEMORY_REGION(base(places[i].place, frame), places[i].bytes);
    ASAN_POISON_MEMORY_REGION(base(SCRATCH, frame), scratch_bytes);
}

static void open_all(const void *frame, size_t scratch_bytes) {
    for (int i = 0; i < GUARDED_PLACES; ++i)
        ASAN_UNPOISON_MEMORY_REGION(base(places[i].place, frame), places[i].bytes);
    ASAN_UNPOISON_MEMORY_REGION(base(SCRATCH, frame), scratch_bytes);
}

static void open_scratch(const void *frame, size_t scratch_bytes, size_t used) {
    for (size_t start = 0; start + used <= scratch_bytes; start += GUARDED_SCRATCH_STRIDE) {
        ASAN_UNPOISON_MEMORY_REGION(base(SCRATCH, frame) + start, used);
        memset(base(SCRATCH, frame) + start, 0xff, used);
    }
}

static void open_spans(int step, const void *frame, size_t scratch_bytes) {
    for (int i = 0; i < GUARDED_SPANS; ++i) {
        if (spans[i].step != step)
            continue;
        uint8_t *start = base(spans[i].place, frame) + spans[i].offset;
        ASAN_UNPOISON_MEMORY_REGION(start, spans[i].bytes);
        if (spans[i].use == FRESH) {
            memset(start, 0xff, spans[i].bytes);
            ASAN_POISON_MEMORY_REGION(start, spans[i].bytes); /* what the step uses of it is a span of its own */
        }
        if (spans[i].use == OWN_SCRATCH)
            open_scratch(frame, scratch_bytes, spans[i].bytes);
    }
}

/* FNV-1a of all that the step only reads. */
static uint64_t sum_of_reads(int step, const void *frame) {
    uint64_t sum = 14695981039346656037u;
    for (int i = 0; i < GUARDED_SPANS; ++i)
        for (size_t at = 0; spans[i].step == step && spans[i].use == ONLY_READ && at < spans[i].bytes; ++at)
            sum = (sum ^ base(spans[i].place, frame)[spans[i].offset + at]) * 1099511628211u;
    return sum;
}

int mdc_run_steps(struct mdc_pool *pool, const struct mdc_step *steps, int count, const void *frame,
                  uint64_t *nanoseconds) {
    size_t scratch_bytes = malloc_usable_size(base(SCRATCH, frame)); /* as asked for, under AddressSanitizer */
    int failed = count != GUARDED_STEPS;
    for (int i = 0; i < count && !failed; ++i) {
        close_all(frame, scratch_bytes);
        open_spans(i, frame, scratch_bytes);
        uint64_t before = sum_of_reads(i, frame);
        failed = mdc_run_steps_plain(pool, &steps[i], 1, frame, nanoseconds);
        if (before != sum_of_reads(i, frame)) {
            fprintf(stderr, "guard: step %d changes what it only reads\n", i);
            abort();
        }
    }
    open_all(frame, scratch_bytes);
    return failed;
}
