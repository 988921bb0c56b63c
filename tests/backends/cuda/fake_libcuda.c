/* The CUDA driver functions that a model calls, on the host's memory: for tests without a GPU.
 *
 * It is strict where a real driver may crash: a context must be current, pointers of a launch must lie in allocations,
 * a recording stream takes asynchronous work only. Environment:
 *   FAKE_CUDA_CAPABILITY  e.g. 8.7 (the default)
 *   FAKE_CUDA_FAIL        function:result:n, the n-th call (from 1) of that function returns result
 *   FAKE_CUDA_LOG         file to which every launch, copy and load is written, a line each
 *   FAKE_CUDA_KERNELS     library with emulated kernels (emulation.h); without it launches do nothing
 * cuLaunchKernel does not say how many pointers a kernel takes: the module's PTX does, so a cubin alone has none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int CUresult;
typedef uint64_t CUdeviceptr;
#define EXPORT __attribute__((visibility("default")))
#define GUARD 256
#define MOST 64

enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NO_DEVICE = 100, INVALID_IMAGE = 200, NO_CONTEXT = 201, NOT_FOUND = 500,
       ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900 };

struct allocation {
    uint8_t *start;
    size_t bytes;
    int on_device;
    struct allocation *next;
};
static struct allocation *allocations;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; /* of the list, the log and the emulation */
static _Atomic int live; /* objects that were made and not yet given back */
static int context_object;
static _Atomic int contexts_current, contexts_retained;
static _Thread_local int depth;

struct module {
    const char *text;
    size_t bytes;
    int is_ptx;
};
struct function {
    char name[256];
    struct function *next;
};
struct operation {
    enum { COPY, LAUNCH, EVENT } kind;
    void *target;
    const void *source;
    size_t bytes;
    const char *what;
    struct function *function;
    unsigned grid[3], block[3];
    CUdeviceptr pointers[MOST];
    int count;
    uint64_t *time;
    struct operation *next;
};
struct stream {
    int recording;
    struct operation *first, **last;
};

static FILE *log_file(void) {
    static FILE *file;
    static char opened[1024];
    const char *path = getenv("FAKE_CUDA_LOG");
    if (!path || !*path)
        return NULL;
    if (!file || strcmp(opened, path)) {
        if (file)
            fclose(file);
        snprintf(opened, sizeof opened, "%s", path);
        file = fopen(path, "w");
    }
    return file;
}
#define LOG(...)                                                                                                       \
    do {                                                                                                               \
        if (log_file()) {                                                                                              \
            fprintf(log_file(), __VA_ARGS__);                                                                          \
            fflush(log_file());                                                                                        \
        }                                                                                                              \
    } while (0)

/* Whether this call is the one that is to fail, and with what. */
static CUresult wanted_failure(const char *function) {
    static char counted[256];
    static int calls;
    const char *wish = getenv("FAKE_CUDA_FAIL");
    char name[128];
    int result = 0, number = 1;
    if (!wish || sscanf(wish, "%127[^:]:%d:%d", name, &result, &number) < 2 || strcmp(name, function))
        return OK;
    if (strcmp(counted, wish)) {
        snprintf(counted, sizeof counted, "%s", wish);
        calls = 0;
    }
    return ++calls == number ? result : OK;
}
#define BEGIN                                                                                                          \
    do {                                                                                                               \
        const CUresult wish = wanted_failure(__func__);                                                                \
        if (wish)                                                                                                      \
            return wish;                                                                                               \
    } while (0)
#define IN_CONTEXT                                                                                                     \
    do {                                                                                                               \
        BEGIN;                                                                                                         \
        if (!depth)                                                                                                    \
            return NO_CONTEXT;                                                                                         \
    } while (0)

static CUresult allocate(void **pointer, size_t bytes, int on_device) {
    struct allocation *made = malloc(sizeof *made);
    uint8_t *memory = aligned_alloc(GUARD, (bytes + 3 * GUARD - 1) / GUARD * GUARD);
    if (!bytes || !memory || !made)
        return INVALID;
    memset(memory, 0xA5, (bytes + 3 * GUARD - 1) / GUARD * GUARD); /* memory is never zero by itself */
    *made = (struct allocation){memory + GUARD, bytes, on_device, NULL};
    *pointer = made->start;
    pthread_mutex_lock(&lock);
    made->next = allocations;
    allocations = made;
    live++;
    pthread_mutex_unlock(&lock);
    return OK;
}

static int is_whole(const struct allocation *item) {
    for (int i = 1; i <= GUARD; i++)
        if (item->start[-i] != 0xA5)
            return 0;
    const size_t rest = (item->bytes + 3 * GUARD - 1) / GUARD * GUARD - GUARD - item->bytes;
    for (size_t i = 0; i < rest; i++)
        if (item->start[item->bytes + i] != 0xA5)
            return 0;
    return 1;
}

static CUresult give_back_locked(void *pointer) {
    for (struct allocation **place = &allocations; *place; place = &(*place)->next) {
        struct allocation *item = *place;
        if (item->start != pointer)
            continue;
        if (!is_whole(item)) {
            LOG("overrun of %zu bytes\n", item->bytes);
            fprintf(stderr, "fake_libcuda: something was written beside an allocation of %zu bytes\n", item->bytes);
            abort();
        }
        *place = item->next;
        free(item->start - GUARD);
        free(item);
        live--;
        return OK;
    }
    return INVALID;
}

static CUresult give_back(void *pointer) {
    pthread_mutex_lock(&lock);
    const CUresult result = give_back_locked(pointer);
    pthread_mutex_unlock(&lock);
    return result;
}

/* The allocation that holds these bytes; NULL when they lie outside. */
static const struct allocation *holding(uint64_t address, size_t bytes, int on_device) {
    pthread_mutex_lock(&lock);
    const struct allocation *found = allocations;
    for (; found; found = found->next) {
        const uint64_t start = (uint64_t)(uintptr_t)found->start;
        if (found->on_device == on_device && address >= start && address + bytes <= start + found->bytes)
            break;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* What the tests ask: objects that are alive. */
EXPORT int fake_cuda_live(void) { return live + contexts_current + contexts_retained; }

EXPORT CUresult cuInit(unsigned flags) {
    BEGIN;
    return flags ? INVALID : OK;
}
EXPORT CUresult cuDriverGetVersion(int *version) {
    BEGIN;
    *version = 12020;
    return OK;
}
EXPORT CUresult cuGetErrorName(CUresult error, const char **name) {
    static _Thread_local char text[64];
    snprintf(text, sizeof text, "CUDA_ERROR_NUMBER_%d", error);
    *name = text;
    return OK;
}
EXPORT CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == NO_MEMORY ? "out of memory" : "some error";
    return OK;
}
EXPORT CUresult cuDeviceGetCount(int *count) {
    BEGIN;
    *count = getenv("FAKE_CUDA_NONE") ? 0 : 1;
    return OK;
}
EXPORT CUresult cuDeviceGet(int *device, int ordinal) {
    BEGIN;
    *device = 0;
    return ordinal ? 101 : OK;
}
EXPORT CUresult cuDeviceGetName(char *name, int length, int device) {
    BEGIN;
    snprintf(name, (size_t)length, "Fake GPU");
    return device ? INVALID : OK;
}
EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    BEGIN;
    const char *capability = getenv("FAKE_CUDA_CAPABILITY");
    int major = 8, minor = 7;
    if (capability)
        sscanf(capability, "%d.%d", &major, &minor);
    *value = attribute == 75 ? major : minor;
    return device || (attribute != 75 && attribute != 76) ? INVALID : OK;
}
EXPORT CUresult cuDevicePrimaryCtxRetain(void **context, int device) {
    BEGIN;
    contexts_retained++;
    *context = &context_object;
    return device ? INVALID : OK;
}
EXPORT CUresult cuDevicePrimaryCtxRelease_v2(int device) {
    BEGIN;
    contexts_retained--;
    return device ? INVALID : OK;
}
EXPORT CUresult cuCtxPushCurrent_v2(void *context) {
    BEGIN;
    if (context != &context_object || !contexts_retained)
        return NO_CONTEXT;
    depth++, contexts_current++;
    return OK;
}
EXPORT CUresult cuCtxPopCurrent_v2(void **context) {
    if (!depth)
        return NO_CONTEXT;
    *context = &context_object;
    depth--, contexts_current--;
    return OK;
}

/* --- modules --- */

static size_t elf_bytes(const uint8_t *elf) {
    uint64_t sections, programs;
    uint16_t section_bytes, section_count, program_bytes, program_count, machine;
    memcpy(&machine, elf + 18, 2);
    memcpy(&programs, elf + 32, 8);
    memcpy(&sections, elf + 40, 8);
    memcpy(&program_bytes, elf + 54, 2);
    memcpy(&program_count, elf + 56, 2);
    memcpy(&section_bytes, elf + 58, 2);
    memcpy(&section_count, elf + 60, 2);
    const size_t end = sections + (size_t)section_bytes * section_count;
    const size_t other = programs + (size_t)program_bytes * program_count;
    return machine == 190 /* EM_CUDA */ ? (end > other ? end : other) : 0;
}

EXPORT CUresult cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
    const int is_ptx = !memcmp(image, ".version", 8);
    LOG("module %s\n", is_ptx ? "ptx" : "cubin");
    const CUresult wish = wanted_failure(is_ptx ? "load_ptx" : "load_cubin");
    if (wish && count == 2 && options[0] == 5)
        snprintf(values[0], (size_t)(uintptr_t)values[1], "ptxas says no");
    if (wish)
        return wish;
    IN_CONTEXT;
    const size_t bytes = is_ptx ? strlen(image) : memcmp(image, "\177ELF", 4) ? 0 : elf_bytes(image);
    if (!bytes)
        return INVALID_IMAGE;
    struct module *made = malloc(sizeof *made);
    *made = (struct module){image, bytes, is_ptx};
    *module = made;
    live++;
    return OK;
}
EXPORT CUresult cuModuleUnload(void *module) {
    IN_CONTEXT;
    free(module);
    live--;
    return OK;
}
EXPORT CUresult cuModuleGetFunction(void **function, void *module, const char *name) {
    IN_CONTEXT;
    static struct function *known;
    const struct module *from = module;
    char wanted[300];
    snprintf(wanted, sizeof wanted, from->is_ptx ? ".entry %s(" : ".text.%s", name);
    if (!memmem(from->text, from->bytes, wanted, strlen(wanted)))
        return NOT_FOUND;
    struct function *made = malloc(sizeof *made);
    snprintf(made->name, sizeof made->name, "%s", name);
    made->next = known; /* functions live as long as the process, as a real driver's do as long as the module */
    known = made;
    *function = made;
    return OK;
}

/* --- memory --- */

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
    IN_CONTEXT;
    void *memory = NULL;
    const CUresult result = allocate(&memory, bytes, 1);
    *pointer = (CUdeviceptr)(uintptr_t)memory;
    return result;
}
EXPORT CUresult cuMemFree_v2(CUdeviceptr pointer) {
    IN_CONTEXT;
    return give_back((void *)(uintptr_t)pointer);
}
EXPORT CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    IN_CONTEXT;
    return flags ? INVALID : allocate(pointer, bytes, 0);
}
EXPORT CUresult cuMemFreeHost(void *pointer) {
    IN_CONTEXT;
    return give_back(pointer);
}

/* --- work --- */

static CUresult execute_locked(const struct operation *one) {
    if (one->kind == EVENT) {
        *one->time = now();
        return OK;
    }
    if (one->kind == COPY) {
        LOG("copy %s %zu\n", one->what, one->bytes);
        memcpy(one->target, one->source, one->bytes);
        return OK;
    }
    LOG("launch %s %u %u %u %u %u %u", one->function->name, one->grid[0], one->grid[1], one->grid[2], one->block[0],
        one->block[1], one->block[2]);
    for (int i = 0; i < one->count; i++) {
        const struct allocation *item = holding(one->pointers[i], 1, 1);
        LOG(" %zu+%zu", item->bytes, (size_t)(one->pointers[i] - (uint64_t)(uintptr_t)item->start));
    }
    LOG("\n");
    static int (*emulate)(const char *, const unsigned *, const unsigned *, const uint64_t *);
    static char loaded[1024];
    const char *path = getenv("FAKE_CUDA_KERNELS");
    if (!path || !*path)
        return OK;
    if (strcmp(loaded, path)) {
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            fprintf(stderr, "fake_libcuda: %s\n", dlerror());
            abort();
        }
        *(void **)&emulate = dlsym(library, "emulated_launch");
        snprintf(loaded, sizeof loaded, "%s", path);
    }
    return emulate(one->function->name, one->grid, one->block, one->pointers) ? ILLEGAL_ADDRESS : OK;
}

static CUresult execute(const struct operation *one) {
    pthread_mutex_lock(&lock);
    const CUresult result = execute_locked(one);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Do it now, or record it. */
static CUresult submit(struct stream *stream, const struct operation *one) {
    if (!stream->recording)
        return execute(one);
    struct operation *kept = malloc(sizeof *kept);
    *kept = *one;
    kept->next = NULL;
    *stream->last = kept;
    stream->last = &kept->next;
    return OK;
}

static CUresult copy(struct stream *stream, const char *what, CUdeviceptr target, int target_on_device,
                     CUdeviceptr source, int source_on_device, size_t bytes) {
    if (!holding(target, bytes, target_on_device) || !holding(source, bytes, source_on_device))
        return INVALID;
    const struct operation one = {
        .kind = COPY, .what = what, .target = (void *)target, .source = (const void *)source, .bytes = bytes};
    return submit(stream, &one);
}

EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr target, const void *source, size_t bytes) {
    IN_CONTEXT;
    if (!holding(target, bytes, 1))
        return INVALID;
    memcpy((void *)target, source, bytes);
    return OK;
}
EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t bytes, void *stream) {
    IN_CONTEXT;
    return copy(stream, "up", target, 1, (CUdeviceptr)source, 0, bytes);
}
EXPORT CUresult cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t bytes, void *stream) {
    IN_CONTEXT;
    return copy(stream, "down", (CUdeviceptr)target, 0, source, 1, bytes);
}
EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t bytes, void *stream) {
    IN_CONTEXT;
    return copy(stream, "across", target, 1, source, 1, bytes);
}

static CUresult destroy(void *item) {
    IN_CONTEXT;
    free(item);
    live--;
    return OK;
}

EXPORT CUresult cuStreamCreate(void **stream, unsigned flags) {
    IN_CONTEXT;
    struct stream *made = calloc(1, sizeof *made);
    made->last = &made->first;
    *stream = made;
    live++;
    return flags == 1 ? OK : INVALID;
}
EXPORT CUresult cuStreamDestroy_v2(void *stream) { return destroy(stream); }
EXPORT CUresult cuStreamSynchronize(void *stream) {
    IN_CONTEXT;
    return ((struct stream *)stream)->recording ? CAPTURE_UNSUPPORTED : OK;
}
EXPORT CUresult cuStreamBeginCapture_v2(void *stream, int mode) {
    IN_CONTEXT;
    ((struct stream *)stream)->recording = 1;
    LOG("record\n");
    return mode == 1 ? OK : INVALID;
}
EXPORT CUresult cuStreamEndCapture(void *stream, void **graph) {
    struct stream *from = stream;
    from->recording = 0;
    struct operation *recorded = from->first;
    from->first = NULL;
    from->last = &from->first;
    IN_CONTEXT;
    struct operation **made = malloc(sizeof *made);
    *made = recorded;
    *graph = made;
    LOG("recorded\n");
    live++;
    return OK;
}
EXPORT CUresult cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    IN_CONTEXT;
    struct operation **made = malloc(sizeof *made);
    *made = *(struct operation **)graph; /* the list is never freed: a test's process is short */
    *executable = made;
    live++;
    return flags ? INVALID : OK;
}
EXPORT CUresult cuGraphLaunch(void *executable, void *stream) {
    IN_CONTEXT;
    LOG("graph\n");
    for (const struct operation *one = *(struct operation **)executable; one; one = one->next) {
        const CUresult result = execute(one);
        if (result)
            return result;
    }
    return ((struct stream *)stream)->recording ? CAPTURE_UNSUPPORTED : OK;
}
EXPORT CUresult cuGraphExecDestroy(void *executable) { return destroy(executable); }
EXPORT CUresult cuGraphDestroy(void *graph) { return destroy(graph); }

EXPORT CUresult cuEventCreate(void **event, unsigned flags) {
    IN_CONTEXT;
    *event = calloc(1, sizeof(uint64_t));
    live++;
    return flags ? INVALID : OK;
}
EXPORT CUresult cuEventDestroy_v2(void *event) {
    IN_CONTEXT;
    free(event);
    live--;
    return OK;
}
EXPORT CUresult cuEventRecord(void *event, void *stream) {
    IN_CONTEXT;
    const struct operation one = {.kind = EVENT, .time = event};
    return submit(stream, &one);
}
EXPORT CUresult cuEventElapsedTime(float *milliseconds, void *start, void *stop) {
    IN_CONTEXT;
    *milliseconds = (float)(*(uint64_t *)stop - *(uint64_t *)start) / 1e6f;
    return OK;
}

EXPORT CUresult cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                               unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
                               void **parameters, void **extra) {
    IN_CONTEXT;
    struct operation one = {.kind = LAUNCH,
                            .function = function,
                            .grid = {grid_x, grid_y, grid_z},
                            .block = {block_x, block_y, block_z}};
    if (shared_bytes || extra || !grid_x || !grid_y || !grid_z || grid_y > 65535 || grid_z > 65535 ||
        !block_x || !block_y || !block_z || block_x * block_y * block_z > 1024)
        return INVALID;
    int (*pointers_of)(const char *) = NULL;
    const char *path = getenv("FAKE_CUDA_KERNELS");
    void *library = path && *path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library)
        *(void **)&pointers_of = dlsym(library, "emulated_pointers");
    one.count = pointers_of ? pointers_of(one.function->name) : 0;
    for (int i = 0; i < one.count; i++) {
        memcpy(&one.pointers[i], parameters[i], sizeof one.pointers[i]);
        if (!holding(one.pointers[i], 1, 1))
            return ILLEGAL_ADDRESS;
    }
    return submit(stream, &one);
}
