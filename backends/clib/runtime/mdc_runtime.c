/* See mdc_runtime.h. */
#define _GNU_SOURCE /* sched_setaffinity; POSIX.1-2008 for the rest */

#include "mdc_runtime.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#define SPINS_BEFORE_YIELD 20000
#define SPINS_BEFORE_SLEEP 20000

struct worker {
    struct mdc_pool *pool;
    pthread_t thread;
    int index;         /* from 1 on: 0 is the caller */
    atomic_int id;     /* the system's number of the thread; 0 until it runs */
};

/* Where workers run. A system that takes an idle processor for a busy one, as a virtual machine does whose host has
 * put that processor aside, wakes a worker behind its caller and leaves it there for some milliseconds: longer than
 * many networks take. So a sleeper is told before it is woken to run anywhere but on its caller's processor. */
#if defined(__linux__)
struct processors {
    cpu_set_t allowed; /* when the pool was made */
    int caller;        /* the processor that workers keep off, -1 at first */
};

static void find_processors(struct processors *processors) {
    processors->caller = -1;
    if (sched_getaffinity(0, sizeof processors->allowed, &processors->allowed))
        CPU_ZERO(&processors->allowed);
}

static void keep_off_caller(struct processors *processors, struct worker *workers, int count) {
    int caller = sched_getcpu();
    if (caller < 0 || caller == processors->caller || caller >= CPU_SETSIZE)
        return;
    cpu_set_t others = processors->allowed;
    CPU_CLR((size_t)caller, &others);
    if (!CPU_COUNT(&others))
        return;
    int started = 0;
    for (int i = 0; i < count; ++i) {
        int id = atomic_load(&workers[i].id);
        started += id && !sched_setaffinity(id, sizeof others, &others);
    }
    processors->caller = started == count ? caller : -1;
}

static int thread_id(void) { return (int)syscall(SYS_gettid); }
static int process_id(void) { return (int)getpid(); }
#else
struct processors {
    int none;
};

static void find_processors(struct processors *processors) { processors->none = 0; }

static void keep_off_caller(struct processors *processors, struct worker *workers, int count) {
    (void)processors, (void)workers, (void)count;
}

static int thread_id(void) { return 0; }
static int process_id(void) { return 0; } /* systems without fork have one */
#endif

/* A round is one step of the model. `gate` holds its number, odd while workers may join, in the upper half and the
 * workers inside in the lower. The caller closes the gate when no iteration is left and waits for those inside only:
 * a worker that the system has not woken up yet misses the round and delays nobody. */
struct mdc_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int process; /* that started the workers: the child of a fork has none of them */
    int threads; /* the caller included */
    int started;
    struct worker *workers;
    struct processors processors;
    atomic_ullong gate;
    atomic_int sleepers;
    atomic_int stop;
    atomic_int next; /* first iteration that nobody has taken */
    atomic_int failed;
    const struct mdc_step *step;
    const void *frame;
    int32_t chunk;
};

#define ROUND_OF(gate) ((gate) >> 32)
#define INSIDE(gate) ((gate) & 0xffffffffu)
#define ONE_ROUND (1ull << 32)

static void work(struct mdc_pool *pool, int worker) {
    const struct mdc_step *step = pool->step;
    for (;;) {
        int32_t begin = atomic_fetch_add(&pool->next, pool->chunk);
        if (begin >= step->tasks)
            return;
        int32_t end = begin + pool->chunk;
        if (end > step->tasks)
            end = step->tasks;
        if (step->run(pool->frame, begin, end, worker))
            atomic_store(&pool->failed, 1);
    }
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    sched_yield();
#endif
}

static int is_news(struct mdc_pool *pool, unsigned long long done) {
    unsigned long long round = ROUND_OF(atomic_load(&pool->gate));
    return atomic_load(&pool->stop) || (round % 2 && round != done);
}

/* Wait for an open round other than `done`, or for the end. */
static void wait_for_news(struct mdc_pool *pool, unsigned long long done) {
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; ++spin) {
        if (is_news(pool, done))
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!is_news(pool, done))
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

/* Enter the round that is open; its number, or 0 when none is. */
static unsigned long long join_round(struct mdc_pool *pool) {
    unsigned long long gate = atomic_load(&pool->gate);
    while (ROUND_OF(gate) % 2)
        if (atomic_compare_exchange_weak(&pool->gate, &gate, gate + 1))
            return ROUND_OF(gate);
    return 0;
}

static void *work_for_ever(void *argument) {
    struct worker *self = argument;
    struct mdc_pool *pool = self->pool;
    unsigned long long done = 0;
    atomic_store(&self->id, thread_id());
    for (;;) {
        wait_for_news(pool, done);
        if (atomic_load(&pool->stop))
            return NULL;
        unsigned long long round = join_round(pool);
        if (!round)
            continue;
        work(pool, self->index);
        done = round;
        atomic_fetch_sub(&pool->gate, 1);
    }
}

static void wake_sleepers(struct mdc_pool *pool) {
    if (!atomic_load(&pool->sleepers))
        return;
    keep_off_caller(&pool->processors, pool->workers, pool->started);
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

/* Start `threads - 1` workers of a pool that has none. 0 when at least one runs. */
static int start_workers(struct mdc_pool *pool, int threads) {
    find_processors(&pool->processors);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->process = process_id();
    for (pool->started = 0; pool->started < threads - 1; ++pool->started) {
        struct worker *next = &pool->workers[pool->started];
        next->pool = pool;
        next->index = pool->started + 1;
        atomic_store(&next->id, 0);
        if (pthread_create(&next->thread, NULL, work_for_ever, next))
            break;
    }
    pool->threads = pool->started + 1;
    return !pool->started;
}

/* The child of a fork starts workers of its own when it first runs something. Its copies of lock and gate are as the
 * parent's threads happened to leave them, so they begin anew; nobody else can hold them. */
static void adopt(struct mdc_pool *pool) {
    atomic_store(&pool->gate, 0);
    atomic_store(&pool->sleepers, 0);
    atomic_store(&pool->stop, 0);
    start_workers(pool, pool->threads);
}

struct mdc_pool *mdc_pool_create(int threads) {
    if (threads <= 1)
        return NULL;
    struct mdc_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->workers = calloc((size_t)threads - 1, sizeof *pool->workers);
    if (pool->workers && !start_workers(pool, threads))
        return pool;
    free(pool->workers);
    free(pool);
    return NULL;
}

void mdc_pool_destroy(struct mdc_pool *pool) {
    if (!pool)
        return;
    if (pool->process == process_id()) {
        pthread_mutex_lock(&pool->lock);
        atomic_store(&pool->stop, 1);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
        for (int i = 0; i < pool->started; ++i)
            pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->lock);
    }
    free(pool->workers);
    free(pool);
}

static int run_shared(struct mdc_pool *pool, const struct mdc_step *step, const void *frame) {
    int32_t shares = pool->threads * step->shares;
    pool->step = step;
    pool->frame = frame;
    pool->chunk = (step->tasks + shares - 1) / shares;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->failed, 0);
    atomic_fetch_add(&pool->gate, ONE_ROUND);
    wake_sleepers(pool);
    work(pool, 0);
    atomic_fetch_add(&pool->gate, ONE_ROUND);
    for (int spin = 0; INSIDE(atomic_load(&pool->gate)); ++spin)
        if (spin < SPINS_BEFORE_YIELD)
            relax();
        else
            sched_yield(); /* a worker that was interrupted may wait for this processor */
    return atomic_load(&pool->failed);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Where a step starts, and where a step of which kernel ends, for an emulator that counts instructions; a processor
 * does nothing for these hints (Arm ARM, C6.2 HINT: unallocated). */
#if defined(__aarch64__)
#define MARK(number) __asm__ volatile("hint #" #number ::: "memory")
#else
#define MARK(number) (void)0
#endif

static void mark_end(int32_t kernel) {
    MARK(101);
    for (int32_t i = 0; i <= kernel; ++i)
        MARK(102);
}

int mdc_run_steps(struct mdc_pool *pool, const struct mdc_step *steps, int count, const void *frame,
                  uint64_t *nanoseconds) {
    if (pool && pool->process != process_id())
        adopt(pool);
    for (int i = 0; i < count; ++i) {
        uint64_t start = nanoseconds ? now() : 0;
        if (nanoseconds)
            MARK(100);
        int failed = pool && steps[i].tasks > 1 ? run_shared(pool, &steps[i], frame)
                                                : steps[i].run(frame, 0, steps[i].tasks, 0);
        if (failed)
            return failed;
        if (nanoseconds) {
            nanoseconds[steps[i].kernel] += now() - start;
            mark_end(steps[i].kernel);
        }
    }
    return 0;
}

void *mdc_allocate(size_t bytes, size_t alignment) {
    void *memory = NULL;
    if (alignment < sizeof(void *))
        alignment = sizeof(void *);
    return posix_memalign(&memory, alignment, bytes ? bytes : alignment) ? NULL : memory;
}

void mdc_release(void *memory) { free(memory); }

int32_t mdc_slide(struct mdc_window *window, uint8_t *strip, int32_t planes, size_t plane_bytes, size_t row_bytes,
                  int32_t low, int32_t high) {
    struct mdc_window old = *window;
    window->low = low;
    window->high = high;
    if (low < old.low || low >= old.high)
        return low;
    if (low > old.low)
        for (int32_t plane = 0; plane < planes; ++plane) {
            uint8_t *first = strip + (size_t)plane * plane_bytes;
            memmove(first, first + (size_t)(low - old.low) * row_bytes, (size_t)(old.high - low) * row_bytes);
        }
    return old.high;
}

int mdc_copy(void *target, const void *source, size_t bytes) {
    memcpy(target, source, bytes);
    return 0;
}

#if defined(__x86_64__)
static int has(unsigned word, unsigned bits) { return (word & bits) == bits; }

/* Intel SDM volume 1, 14.3 and 15.2: a vector extension needs its CPUID bits and the system's XCR0 bits. */
int mdc_cpu_features(void) {
    unsigned a, b, c, d, features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    if (has(c, bit_SSE4_1 | bit_SSE4_2 | bit_SSSE3 | bit_POPCNT))
        features |= MDC_CPU_SSE4_2;
    if (!has(c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C))
        return (int)features;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    unsigned b7 = 0;
    if (!has(low, 0x6) || !__get_cpuid_count(7, 0, &a, &b7, &c, &d))
        return (int)features;
    if (has(b7, bit_AVX2 | bit_BMI2))
        features |= MDC_CPU_AVX2;
    if (has(low, 0xe6) && has(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL))
        features |= MDC_CPU_AVX512;
    if ((features & MDC_CPU_AVX512) && has(c, bit_AVX512VNNI | bit_AVX512VBMI))
        features |= MDC_CPU_VNNI;
    return (int)features;
}
#elif defined(__aarch64__)
/* Linux, Documentation/arch/arm64/elf_hwcaps.rst: the numbers are part of its interface. */
#define HWCAP_NEON (1ul << 1)
#define HWCAP_DOTPROD (1ul << 20)
#define HWCAP2_I8MM_BIT (1ul << 13)

int mdc_cpu_features(void) {
    unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    int features = first & HWCAP_NEON ? MDC_CPU_NEON : 0;
    features |= first & HWCAP_DOTPROD ? MDC_CPU_DOTPROD : 0;
    return features | (second & HWCAP2_I8MM_BIT ? MDC_CPU_I8MM : 0);
}
#else
int mdc_cpu_features(void) { return 0; }
#endif

static _Thread_local char error[320];

const char *mdc_error(void) { return error; }

void mdc_no_memory(size_t arena_bytes, int threads) {
    snprintf(error, sizeof error, "no memory for an arena of %zu bytes and %d threads", arena_bytes, threads);
}

int mdc_cpu_has(int needed) {
    static const struct {
        int bit;
        const char *name;
    } sets[] = {
        {MDC_CPU_SSE4_2, "SSE4.2"},
        {MDC_CPU_AVX2, "AVX2 with FMA, F16C and BMI2"},
        {MDC_CPU_AVX512, "AVX-512 (F, BW, CD, DQ, VL)"},
        {MDC_CPU_VNNI, "AVX512-VNNI with AVX512-VBMI"},
        {MDC_CPU_NEON, "NEON"},
        {MDC_CPU_DOTPROD, "the dot products of Armv8.2"},
        {MDC_CPU_I8MM, "the integer matrix products (i8mm)"},
    };
    const int missing = needed & ~mdc_cpu_features();
    error[0] = 0;
    if (!missing)
        return 1;
    const char *between = "this processor lacks ";
    size_t used = 0;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; ++i)
        if (missing & sets[i].bit) {
            used += (size_t)snprintf(error + used, sizeof error - used, "%s%s", between, sets[i].name);
            between = " and ";
        }
    snprintf(error + used, sizeof error - used, ", for which the model was compiled. Compile it for another target");
    return 0;
}
