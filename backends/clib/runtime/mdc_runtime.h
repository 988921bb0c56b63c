/* What every generated model needs: memory, a small thread pool, a clock. C11 and POSIX threads. */
#ifndef MDC_RUNTIME_H
#define MDC_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

/* One kernel of a model. run does iterations [begin, end) and returns 0 on success; worker, from 0 on,
 * tells the threads of a pool apart. shares: into how many parts each thread's iterations are cut; more even out
 * threads of unequal speed, one keeps neighbours together. */
struct mdc_step {
    int (*run)(const void *frame, int32_t begin, int32_t end, int worker);
    int32_t tasks;
    int32_t kernel;
    int32_t shares;
};

struct mdc_pool;

/* A pool of threads - 1 workers (the caller is the last one). NULL for threads <= 1 or when none starts. */
struct mdc_pool *mdc_pool_create(int threads);
void mdc_pool_destroy(struct mdc_pool *pool);

/* Run all steps in order; nanoseconds, unless NULL, gets the time of each kernel added up. 0 on success. */
int mdc_run_steps(struct mdc_pool *pool, const struct mdc_step *steps, int count, const void *frame,
                  uint64_t *nanoseconds);

/* Memory at a multiple of alignment, a power of two. NULL when there is none. */
void *mdc_allocate(size_t bytes, size_t alignment);
void mdc_release(void *memory);

/* The rows [low, high) of a picture that a strip of memory holds. */
struct mdc_window {
    int32_t low, high;
};

/* Let the strip hold rows [low, high) from now on: rows that it held before move to their new place. Returns the
 * first row that is yet to be computed. planes: how many, plane_bytes apart. */
int32_t mdc_slide(struct mdc_window *window, uint8_t *strip, int32_t planes, size_t plane_bytes, size_t row_bytes,
                  int32_t low, int32_t high);

static inline int32_t mdc_at_least(int32_t value, int32_t bound) { return value < bound ? bound : value; }
static inline int32_t mdc_at_most(int32_t value, int32_t bound) { return value > bound ? bound : value; }

int mdc_copy(void *target, const void *source, size_t bytes);

/* Bit set of instruction sets that this processor and its system support. */
enum {
    MDC_CPU_SSE4_2 = 1,
    MDC_CPU_AVX2 = 2,   /* AVX2, FMA, F16C, BMI2 */
    MDC_CPU_AVX512 = 4, /* F, BW, CD, DQ, VL */
    MDC_CPU_VNNI = 8,   /* AVX512-VNNI and AVX512-VBMI */
    MDC_CPU_NEON = 16,
    MDC_CPU_DOTPROD = 32, /* sdot and udot */
    MDC_CPU_I8MM = 64     /* smmla, ummla and usdot */
};
int mdc_cpu_features(void);

/* Whether this processor has all of `needed`, MDC_CPU bits; what is missing is the thread's error else. */
int mdc_cpu_has(int needed);

/* Why the last call of this thread that could not start a model could not, "" when nothing failed. */
const char *mdc_error(void);
void mdc_no_memory(size_t arena_bytes, int threads);

#endif
