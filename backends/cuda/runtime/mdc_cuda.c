/* Contexts of a model on an NVIDIA GPU: memory, a stream, and the launches recorded as a CUDA graph. */
#define _POSIX_C_SOURCE 200809L
#include "mdc_cuda.h"
#include "mdc_cuda_driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOG_BYTES 2048
#define CAN_BE_BUILT_ANEW(result) ((result) == 200 || (result) == 209 || (result) == 222)
#define AT_LEAST_ONE(bytes) ((bytes) ? (bytes) : 1)

struct mdc_cuda {
    const struct mdc_cuda_model *model;
    struct mdc_cuda_shared *shared;
    CUdeviceptr arena;
    uint8_t *pinned;
    void *stream;
    void *graph; /* ready to run */
    void **events; /* before every launch and after the last; NULL until a profile asks for them */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all mdc_cuda_shared and the name below */
static char device_name[256];

const char *mdc_cuda_device(void) { return device_name; }

uint64_t mdc_cuda_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A driver call whose failure ends the function around it, which then returns `1`. */
#define CALL(name, ...)                                                                                                \
    do {                                                                                                               \
        if (mdc_cuda_check(#name, driver->name(__VA_ARGS__)))                                                          \
            return 1;                                                                                                  \
    } while (0)

static int enter(const struct mdc_cuda_driver *driver, struct mdc_cuda_shared *shared) {
    CALL(cuCtxPushCurrent, shared->device_context);
    return 0;
}

static void leave(const struct mdc_cuda_driver *driver) {
    void *ignored;
    driver->cuCtxPopCurrent(&ignored);
}

/* --- what contexts share: the module and the constants --- */

static int choose_device(const struct mdc_cuda_driver *driver, const struct mdc_cuda_model *model, CUdevice *device,
                         int *runs_cubin) {
    int count = 0, major = 0, minor = 0, version = 0;
    char name[128] = "";
    CALL(cuInit, 0);
    CALL(cuDriverGetVersion, &version);
    CALL(cuDeviceGetCount, &count);
    if (count < 1)
        return mdc_cuda_fail("looking for a GPU", "the driver sees none; CUDA_VISIBLE_DEVICES may hide it");
    CALL(cuDeviceGet, device, 0);
    CALL(cuDeviceGetName, name, sizeof name, *device);
    CALL(cuDeviceGetAttribute, &major, MDC_CUDA_MAJOR, *device);
    CALL(cuDeviceGetAttribute, &minor, MDC_CUDA_MINOR, *device);
    snprintf(device_name, sizeof device_name, "%s, compute capability %d.%d, driver for CUDA %d.%d", name, major,
             minor, version / 1000, version % 1000 / 10);
    *runs_cubin = major == model->major && minor == model->minor; /* Jetson's code is for its own chip alone */
    if (major > model->major || (major == model->major && minor >= model->minor))
        return 0;
    char message[512];
    snprintf(message, sizeof message,
             "the network was compiled for compute capability %d.%d and later; this is %s. Compile it for this GPU",
             model->major, model->minor, device_name);
    return mdc_cuda_fail("choosing the GPU", message);
}

static int load_ptx(const struct mdc_cuda_driver *driver, const struct mdc_cuda_model *model, void **module) {
    char log[LOG_BYTES] = "", what[LOG_BYTES + 64];
    int options[] = {MDC_CUDA_ERROR_LOG, MDC_CUDA_ERROR_LOG_BYTES};
    void *values[] = {log, (void *)(uintptr_t)LOG_BYTES};
    const CUresult result = driver->cuModuleLoadDataEx(module, model->ptx, 2, options, values);
    log[LOG_BYTES - 1] = 0;
    snprintf(what, sizeof what, "cuModuleLoadDataEx (translating PTX)%s%.400s", *log ? ": " : "", log);
    return mdc_cuda_check(what, result);
}

/* Machine code where the chip runs it and the driver reads it, else PTX, which the driver translates. */
static int load_module(const struct mdc_cuda_driver *driver, const struct mdc_cuda_model *model, int runs_cubin,
                       void **module) {
    if (runs_cubin) {
        const CUresult result = driver->cuModuleLoadDataEx(module, model->cubin, 0, NULL, NULL);
        if (!CAN_BE_BUILT_ANEW(result))
            return mdc_cuda_check("cuModuleLoadDataEx", result);
    }
    return load_ptx(driver, model, module);
}

static int load_functions(const struct mdc_cuda_driver *driver, const struct mdc_cuda_model *model,
                          struct mdc_cuda_shared *shared) {
    shared->functions = calloc((size_t)model->function_count + 1, sizeof *shared->functions);
    if (!shared->functions)
        return mdc_cuda_fail("loading the kernels", "no memory");
    for (int32_t i = 0; i < model->function_count; i++)
        CALL(cuModuleGetFunction, &shared->functions[i], shared->module, model->functions[i]);
    return 0;
}

static void unload(const struct mdc_cuda_driver *driver, struct mdc_cuda_shared *shared) {
    if (shared->constants)
        driver->cuMemFree(shared->constants);
    if (shared->module)
        driver->cuModuleUnload(shared->module);
    free(shared->functions);
    leave(driver);
    driver->cuDevicePrimaryCtxRelease(shared->device);
    memset(shared, 0, sizeof *shared);
}

static int load(const struct mdc_cuda_driver *driver, const struct mdc_cuda_model *model,
                struct mdc_cuda_shared *shared, int runs_cubin) {
    if (load_module(driver, model, runs_cubin, &shared->module) || load_functions(driver, model, shared))
        return 1;
    CALL(cuMemAlloc, &shared->constants, AT_LEAST_ONE(model->constants_bytes));
    if (model->constants_bytes)
        CALL(cuMemcpyHtoD, shared->constants, model->constants, model->constants_bytes);
    return 0;
}

/* Load the model unless a context did already. Called under the lock. */
static int take(const struct mdc_cuda_driver *driver, const struct mdc_cuda_model *model,
                struct mdc_cuda_shared *shared) {
    if (shared->contexts) {
        shared->contexts++;
        return 0;
    }
    int runs_cubin = 0;
    if (choose_device(driver, model, &shared->device, &runs_cubin))
        return 1;
    CALL(cuDevicePrimaryCtxRetain, &shared->device_context, shared->device);
    if (enter(driver, shared)) {
        driver->cuDevicePrimaryCtxRelease(shared->device);
        return 1;
    }
    if (load(driver, model, shared, runs_cubin)) {
        unload(driver, shared);
        return 1;
    }
    leave(driver);
    shared->contexts = 1;
    return 0;
}

static void give_back(const struct mdc_cuda_driver *driver, struct mdc_cuda_shared *shared) {
    pthread_mutex_lock(&lock);
    if (--shared->contexts == 0 && !enter(driver, shared))
        unload(driver, shared);
    pthread_mutex_unlock(&lock);
}

/* --- one context --- */

static CUdeviceptr address(const struct mdc_cuda *context, const struct mdc_cuda_place *place) {
    return (place->is_constant ? context->shared->constants : context->arena) + place->offset;
}

static int upload(const struct mdc_cuda_driver *driver, const struct mdc_cuda *context) {
    for (int32_t i = 0; i < context->model->upload_count; i++) {
        const struct mdc_cuda_transfer *t = &context->model->uploads[i];
        CALL(cuMemcpyHtoDAsync, context->arena + t->arena, context->pinned + t->pinned, t->bytes, context->stream);
    }
    return 0;
}

static int download(const struct mdc_cuda_driver *driver, const struct mdc_cuda *context) {
    for (int32_t i = 0; i < context->model->download_count; i++) {
        const struct mdc_cuda_transfer *t = &context->model->downloads[i];
        CALL(cuMemcpyDtoHAsync, context->pinned + t->pinned, context->arena + t->arena, t->bytes, context->stream);
    }
    return 0;
}

static int launch(const struct mdc_cuda_driver *driver, const struct mdc_cuda *context,
                  const struct mdc_cuda_launch *step) {
    const struct mdc_cuda_place *places = context->model->places + step->first;
    if (step->function < 0) {
        CALL(cuMemcpyDtoDAsync, address(context, places + 1), address(context, places), step->bytes, context->stream);
        return 0;
    }
    CUdeviceptr pointers[MDC_CUDA_MOST_POINTERS];
    void *parameters[MDC_CUDA_MOST_POINTERS];
    for (int32_t i = 0; i < step->count; i++) {
        pointers[i] = address(context, places + i);
        parameters[i] = &pointers[i];
    }
    CALL(cuLaunchKernel, context->shared->functions[step->function], step->grid[0], step->grid[1], step->grid[2],
         step->block[0], step->block[1], step->block[2], 0, context->stream, parameters, NULL);
    return 0;
}

static int enqueue(const struct mdc_cuda_driver *driver, const struct mdc_cuda *context) {
    if (upload(driver, context))
        return 1;
    for (int32_t i = 0; i < context->model->launch_count; i++)
        if (launch(driver, context, &context->model->launches[i]))
            return 1;
    return download(driver, context);
}

/* Everything of a run as one graph, which the driver starts with a single call. Once it runs without being recorded:
 * drivers load a kernel when it is first launched, and must not do so while they record. */
static int record(const struct mdc_cuda_driver *driver, struct mdc_cuda *context) {
    void *graph = NULL;
    memset(context->pinned, 0, context->model->pinned_bytes);
    if (enqueue(driver, context))
        return 1;
    CALL(cuStreamSynchronize, context->stream);
    CALL(cuStreamBeginCapture, context->stream, MDC_CUDA_CAPTURE_THREAD_LOCAL);
    const int failed = enqueue(driver, context);
    const CUresult ended = driver->cuStreamEndCapture(context->stream, &graph);
    if (failed || mdc_cuda_check("cuStreamEndCapture", ended)) {
        if (graph)
            driver->cuGraphDestroy(graph);
        return 1;
    }
    const CUresult made = driver->cuGraphInstantiate(&context->graph, graph, 0);
    driver->cuGraphDestroy(graph);
    return mdc_cuda_check("cuGraphInstantiate", made);
}

static int prepare(const struct mdc_cuda_driver *driver, struct mdc_cuda *context) {
    const struct mdc_cuda_model *model = context->model;
    CALL(cuMemAlloc, &context->arena, AT_LEAST_ONE(model->arena_bytes));
    CALL(cuMemHostAlloc, (void **)&context->pinned, AT_LEAST_ONE(model->pinned_bytes), 0);
    CALL(cuStreamCreate, &context->stream, MDC_CUDA_NON_BLOCKING);
    return record(driver, context);
}

static void release(const struct mdc_cuda_driver *driver, struct mdc_cuda *context) {
    for (int32_t i = 0; context->events && i <= context->model->launch_count; i++)
        if (context->events[i])
            driver->cuEventDestroy(context->events[i]);
    free(context->events);
    if (context->graph)
        driver->cuGraphExecDestroy(context->graph);
    if (context->stream)
        driver->cuStreamDestroy(context->stream);
    if (context->pinned)
        driver->cuMemFreeHost(context->pinned);
    if (context->arena)
        driver->cuMemFree(context->arena);
    free(context);
}

struct mdc_cuda *mdc_cuda_create(const struct mdc_cuda_model *model, struct mdc_cuda_shared *shared) {
    mdc_cuda_forget_error();
    const struct mdc_cuda_driver *driver = mdc_cuda_driver();
    struct mdc_cuda *context = driver ? calloc(1, sizeof *context) : NULL;
    if (!context)
        return NULL;
    pthread_mutex_lock(&lock);
    const int failed = take(driver, model, shared);
    pthread_mutex_unlock(&lock);
    if (failed) {
        free(context);
        return NULL;
    }
    context->model = model;
    context->shared = shared;
    if (!enter(driver, shared)) {
        if (!prepare(driver, context)) {
            leave(driver);
            return context;
        }
        release(driver, context);
        leave(driver);
    } else {
        free(context);
    }
    give_back(driver, shared);
    return NULL;
}

void mdc_cuda_destroy(struct mdc_cuda *context) {
    const struct mdc_cuda_driver *driver = mdc_cuda_driver();
    if (!context || !driver || enter(driver, context->shared))
        return;
    struct mdc_cuda_shared *shared = context->shared;
    release(driver, context);
    leave(driver);
    give_back(driver, shared);
}

uint8_t *mdc_cuda_pinned(struct mdc_cuda *context) { return context->pinned; }

static int run_graph(const struct mdc_cuda_driver *driver, struct mdc_cuda *context) {
    CALL(cuGraphLaunch, context->graph, context->stream);
    CALL(cuStreamSynchronize, context->stream);
    return 0;
}

static int make_events(const struct mdc_cuda_driver *driver, struct mdc_cuda *context) {
    if (context->events)
        return 0;
    context->events = calloc((size_t)context->model->launch_count + 1, sizeof *context->events);
    if (!context->events)
        return mdc_cuda_fail("measuring kernels", "no memory");
    for (int32_t i = 0; i <= context->model->launch_count; i++)
        CALL(cuEventCreate, &context->events[i], 0);
    return 0;
}

static int run_timed(const struct mdc_cuda_driver *driver, struct mdc_cuda *context, uint64_t *nanoseconds) {
    const struct mdc_cuda_model *model = context->model;
    if (make_events(driver, context) || upload(driver, context))
        return 1;
    CALL(cuEventRecord, context->events[0], context->stream);
    for (int32_t i = 0; i < model->launch_count; i++) {
        if (launch(driver, context, &model->launches[i]))
            return 1;
        CALL(cuEventRecord, context->events[i + 1], context->stream);
    }
    if (download(driver, context))
        return 1;
    CALL(cuStreamSynchronize, context->stream);
    for (int32_t i = 0; i < model->launch_count; i++) {
        float milliseconds = 0;
        CALL(cuEventElapsedTime, &milliseconds, context->events[i], context->events[i + 1]);
        nanoseconds[model->launches[i].kernel] += (uint64_t)(milliseconds * 1e6f);
    }
    return 0;
}

int mdc_cuda_run(struct mdc_cuda *context) {
    mdc_cuda_forget_error();
    const struct mdc_cuda_driver *driver = mdc_cuda_driver();
    if (enter(driver, context->shared))
        return 1;
    const int failed = run_graph(driver, context);
    leave(driver);
    return failed;
}

int mdc_cuda_profile(struct mdc_cuda *context, uint64_t *nanoseconds) {
    mdc_cuda_forget_error();
    const struct mdc_cuda_driver *driver = mdc_cuda_driver();
    if (enter(driver, context->shared))
        return 1;
    const int failed = run_timed(driver, context, nanoseconds);
    leave(driver);
    return failed;
}
