/* CUDA C on a processor: included before a kernel file, it gives the built-in names and runs grids of threads.
 *
 * The threads of a block are fibres of one thread of the processor: each runs until it meets a barrier, then the next.
 * So shared memory is a static variable, and a missing barrier shows as a wrong number, the same one every time. */
#pragma once
#define MDC_EMULATED 1
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define __global__ __attribute__((visibility("default")))
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

typedef unsigned int uint;
typedef unsigned char uchar;
typedef unsigned short ushort;

struct emulated_index {
    unsigned x, y, z;
};
static emulated_index threadIdx, blockIdx, blockDim, gridDim;

#define EMULATED_VECTOR(type, name)                                                                                    \
    struct __align__(2 * sizeof(type)) name##2 {                                                                       \
        type x, y;                                                                                                     \
    };                                                                                                                 \
    struct name##3 {                                                                                                   \
        type x, y, z;                                                                                                  \
    };                                                                                                                 \
    struct __align__(4 * sizeof(type)) name##4 {                                                                       \
        type x, y, z, w;                                                                                               \
    };                                                                                                                 \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                            \
    static inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                                 \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMULATED_VECTOR(float, float)
EMULATED_VECTOR(int, int)
EMULATED_VECTOR(unsigned int, uint)
EMULATED_VECTOR(signed char, char)
EMULATED_VECTOR(unsigned char, uchar)
EMULATED_VECTOR(short, short)
EMULATED_VECTOR(unsigned short, ushort)

/* IEEE binary16, rounded to nearest even, as cvt.rn.f16.f32 does. */
struct half {
    unsigned short bits;
    half() {}
    half(float value) {
        const _Float16 small = (_Float16)value;
        memcpy(&bits, &small, 2);
    }
    operator float() const {
        _Float16 small;
        memcpy(&small, &bits, 2);
        return (float)small;
    }
};

template <typename T> static inline T max(T a, T b) { return a > b ? a : b; }
template <typename T> static inline T min(T a, T b) { return a < b ? a : b; }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline float min(float a, float b) { return fminf(a, b); }

static inline int __dp4a(int left, int right, int total) {
    for (int i = 0; i < 4; i++)
        total += (int)(int8_t)((unsigned)left >> 8 * i) * (int)(int8_t)((unsigned)right >> 8 * i);
    return total;
}
static inline unsigned __byte_perm(unsigned left, unsigned right, unsigned places) {
    const uint64_t bytes = (uint64_t)right << 32 | left;
    unsigned found = 0;
    for (int i = 0; i < 4; i++) found |= (unsigned)(bytes >> 8 * (places >> 4 * i & 7) & 255) << 8 * i;
    return found;
}
static inline int mdc_saturate_bytes(int first, int second, int third, int fourth) {
    const int values[4] = {first, second, third, fourth};
    unsigned found = 0;
    for (int i = 0; i < 4; i++) found |= (unsigned)(values[i] < 0 ? 0 : values[i] > 255 ? 255 : values[i]) << 8 * i;
    return (int)found;
}
static inline int __mulhi(int left, int right) { return (int)((int64_t)left * right >> 32); }
static inline float __int_as_float(int bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static inline int __float_as_int(float value) {
    int bits;
    memcpy(&bits, &value, 4);
    return bits;
}
static inline float __fmul_rn(float left, float right) {
#pragma clang fp contract(off)
    return left * right;
}
static inline float __fadd_rn(float left, float right) {
#pragma clang fp contract(off)
    return left + right;
}
static inline float __fdiv_rn(float left, float right) { return left / right; }
static inline float __frcp_rn(float value) { return 1.0f / value; }
static inline float __fmaf_rn(float left, float right, float total) { return fmaf(left, right, total); }
static inline float emulated_expf(float value) { return expf(value); }
#define __expf emulated_expf /* the C library has a function of that name */
static inline float __fdividef(float left, float right) { return left / right; }
static inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }

/* --- fibres --- */

#define EMULATED_STACK 65536
#define EMULATED_THREADS 1024

extern "C" void emulated_switch(void **save, void *load);
#if defined(__x86_64__)
__asm__(".text\n.globl emulated_switch\n.hidden emulated_switch\nemulated_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nretq\n");
#define EMULATED_SAVED 6
#else
#error "emulated_switch is written for x86-64 only"
#endif

struct emulated_fibre {
    void *stack;
    char *memory;
    int done;
};
static emulated_fibre emulated_fibres[EMULATED_THREADS];
static void *emulated_scheduler;
static unsigned emulated_current;
static void (*emulated_function)(const uint64_t *);
static const uint64_t *emulated_arguments;

static inline void __syncthreads() {
    emulated_switch(&emulated_fibres[emulated_current].stack, emulated_scheduler);
}

static void emulated_entry() {
    emulated_function(emulated_arguments);
    emulated_fibres[emulated_current].done = 1;
    __syncthreads();
    abort();
}

static void emulated_start(emulated_fibre *fibre) {
    if (!fibre->memory)
        fibre->memory = (char *)aligned_alloc(64, EMULATED_STACK);
    void **top = (void **)(fibre->memory + EMULATED_STACK) - 1; /* the entry sees a stack as after a call */
    *top = 0;
    *--top = (void *)emulated_entry;
    for (int i = 0; i < EMULATED_SAVED; i++)
        *--top = 0;
    fibre->stack = top;
    fibre->done = 0;
}

/* Run all threads of a block; 1 when some end while others wait at a barrier, which hangs a GPU. */
static int emulated_block(const unsigned block[3]) {
    const unsigned count = block[0] * block[1] * block[2];
    for (unsigned i = 0; i < count; i++)
        emulated_start(&emulated_fibres[i]);
    for (unsigned left = count; left;) {
        unsigned ended = 0;
        for (unsigned i = 0; i < count; i++) {
            threadIdx = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};
            emulated_current = i;
            emulated_switch(&emulated_scheduler, emulated_fibres[i].stack);
            ended += emulated_fibres[i].done;
        }
        if (ended && ended != count)
            return 1;
        left = count - ended;
    }
    return 0;
}

struct emulated_kernel {
    const char *name;
    void (*call)(const uint64_t *);
    int pointers, threads;
};
extern const emulated_kernel emulated_kernels[]; /* generated; ends with a NULL */

static const emulated_kernel *emulated_find(const char *name) {
    for (const emulated_kernel *item = emulated_kernels; item->name; item++)
        if (!strcmp(item->name, name))
            return item;
    fprintf(stderr, "emulation: no kernel %s\n", name);
    abort();
}

extern "C" __attribute__((visibility("default"))) int emulated_pointers(const char *name) {
    return emulated_find(name)->pointers;
}

extern "C" __attribute__((visibility("default"))) int emulated_launch(const char *name, const unsigned grid[3],
                                                                      const unsigned block[3],
                                                                      const uint64_t *arguments) {
    const emulated_kernel *kernel = emulated_find(name);
    if (kernel->threads != (int)(block[0] * block[1] * block[2]))
        return 1;
    emulated_function = kernel->call;
    emulated_arguments = arguments;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                if (emulated_block(block)) {
                    fprintf(stderr, "emulation: threads of %s part at a barrier\n", name);
                    return 1;
                }
            }
    return 0;
}
