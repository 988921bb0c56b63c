/* Many rounds of a pool: every iteration is done exactly once, whoever does it; pools come and go, several at once. */
#define _POSIX_C_SOURCE 200809L
#include "mdc_runtime.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { STEPS = 6, MOST = 97, ROUNDS = 150, POOLS = 3, CALLERS = 2 };

struct frame {
    int *cells; /* [STEPS][MOST]: how often an iteration was done, plain memory on purpose */
    int *before;
};

static int add_one(int step, const struct frame *f, int32_t begin, int32_t end) {
    for (int32_t i = begin; i < end; ++i)
        f->cells[step * MOST + i] += 1 + (step ? f->cells[(step - 1) * MOST + i % 3] * 0 : 0);
    return 0;
}

#define STEP(number)                                                                                                   \
    static int step_##number(const void *frame, int32_t begin, int32_t end, int worker) {                              \
        (void)worker;                                                                                                  \
        return add_one(number, frame, begin, end);                                                                     \
    }
STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5)

static const struct mdc_step steps[STEPS] = {
    {step_0, 97, 0, 4}, {step_1, 2, 1, 1}, {step_2, 40, 2, 4}, {step_3, 1, 3, 4}, {step_4, 13, 4, 2}, {step_5, 64, 5, 4},
};

static int use_pool(int threads) {
    int cells[STEPS * MOST];
    memset(cells, 0, sizeof cells);
    struct frame frame = {cells, 0};
    uint64_t spent[STEPS] = {0};
    struct mdc_pool *pool = mdc_pool_create(threads);
    for (int round = 0; round < ROUNDS; ++round) {
        if (mdc_run_steps(pool, steps, STEPS, &frame, round % 2 ? spent : NULL))
            return 1;
        if (round % 50 == 49)
            nanosleep(&(struct timespec){0, 5000000}, NULL); /* long enough for workers to fall asleep */
    }
    mdc_pool_destroy(pool);
    for (int step = 0; step < STEPS; ++step)
        for (int i = 0; i < steps[step].tasks; ++i)
            if (cells[step * MOST + i] != ROUNDS)
                return fprintf(stderr, "step %d, iteration %d: done %d times\n", step, i, cells[step * MOST + i]);
    return 0;
}

static void *call(void *failed) {
    for (int i = 0; i < POOLS; ++i)
        *(int *)failed |= use_pool(1 + i);
    return NULL;
}

int main(void) {
    pthread_t callers[CALLERS];
    int failed[CALLERS] = {0};
    for (int i = 0; i < CALLERS; ++i)
        if (pthread_create(&callers[i], NULL, call, &failed[i]))
            return 2;
    for (int i = 0; i < CALLERS; ++i)
        pthread_join(callers[i], NULL);
    for (int i = 0; i < CALLERS; ++i)
        if (failed[i])
            return 1;
    mdc_pool_destroy(mdc_pool_create(-1));
    mdc_pool_destroy(NULL);
    return 0;
}
