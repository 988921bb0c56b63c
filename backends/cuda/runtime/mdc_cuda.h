/* A network on an NVIDIA GPU, by the driver API alone: the driver is opened when a context is created, so the library
 * itself loads on any machine. C11 and POSIX threads. */
#ifndef MDC_CUDA_H
#define MDC_CUDA_H

#include <stddef.h>
#include <stdint.h>

#define MDC_CUDA_MOST_POINTERS 64 /* of one kernel; what is generated has fewer */

/* Where a kernel's pointer points: bytes from the start of the context's arena, or of the constants. */
struct mdc_cuda_place {
    size_t offset;
    int is_constant;
};

/* One step on the device. function: index of a kernel function, or -1 for a copy of `bytes` from places[first] to
 * places[first + 1]. kernel: whom its time is counted for. */
struct mdc_cuda_launch {
    int32_t function;
    int32_t kernel;
    uint32_t grid[3];
    uint32_t block[3];
    int32_t first, count;
    size_t bytes;
};

/* Between the context's pinned memory and its arena. */
struct mdc_cuda_transfer {
    size_t pinned, arena, bytes;
};

struct mdc_cuda_model {
    const uint8_t *cubin; /* machine code for chips of this capability */
    const char *ptx;      /* for all later ones */
    int32_t major, minor;
    const uint8_t *constants;
    size_t constants_bytes, arena_bytes, pinned_bytes;
    const char *const *functions;
    int32_t function_count;
    const struct mdc_cuda_place *places;
    const struct mdc_cuda_launch *launches;
    int32_t launch_count;
    const struct mdc_cuda_transfer *uploads, *downloads;
    int32_t upload_count, download_count;
};

/* What all contexts of a model share: the code and the constants on the device. One static object for each model. */
struct mdc_cuda_shared {
    int32_t contexts;
    void *device_context;
    void *module;
    void **functions;
    uint64_t constants;
    int32_t device;
};

struct mdc_cuda;

/* Memory, a stream and the recorded launches for one run at a time. NULL on failure, see mdc_cuda_error. */
struct mdc_cuda *mdc_cuda_create(const struct mdc_cuda_model *model, struct mdc_cuda_shared *shared);
void mdc_cuda_destroy(struct mdc_cuda *context);

/* The context's memory on the host: inputs are written there before a run, results read there afterwards. */
uint8_t *mdc_cuda_pinned(struct mdc_cuda *context);

/* Uploads, launches and downloads, and wait for them; 0 on success. */
int mdc_cuda_run(struct mdc_cuda *context);

/* The same one by one, adding the nanoseconds of every launch to those of its kernel. */
int mdc_cuda_profile(struct mdc_cuda *context, uint64_t *nanoseconds);

/* Why the last call in this thread failed, as a sentence; "" when none did. */
const char *mdc_cuda_error(void);

/* Keep "what: message" as this thread's error; what may be a driver function's name. Returns 1. */
int mdc_cuda_fail(const char *what, const char *message);

/* The name of the device in use, its capability and the driver's version, for reports. */
const char *mdc_cuda_device(void);

/* Nanoseconds since some moment. */
uint64_t mdc_cuda_now(void);

#endif
