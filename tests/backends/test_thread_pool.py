"""The thread pool of generated libraries: where its workers run."""

from __future__ import annotations

import ctypes
import os
import sys

import pytest

from tests.c_compiler import RUNTIME, shared_library

CALLER_C = """
#define _GNU_SOURCE
#include "mdc_runtime.h"
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int arrived;

/* Both iterations wait for each other, so each thread does one; the worker's processors go to the caller's frame. */
static int meet(const void *frame, int32_t begin, int32_t end, int worker) {
    (void)begin, (void)end;
    if (worker && sched_getaffinity(0, sizeof(cpu_set_t), *(cpu_set_t *const *)frame))
        return 1;
    atomic_fetch_add(&arrived, 1);
    while (atomic_load(&arrived) < 2)
        sched_yield();
    return 0;
}

/* The processors of a worker that slept before a caller bound to `processor` woke it: bit i for processor i. */
int worker_processors(int processor, uint64_t *found) {
    struct mdc_pool *pool = mdc_pool_create(2);
    if (!pool)
        return 1;
    struct timespec pause = {0, 200000000};
    nanosleep(&pause, 0);
    cpu_set_t here, workers, *place = &workers;
    CPU_ZERO(&here);
    CPU_SET((size_t)processor, &here);
    if (sched_setaffinity(0, sizeof here, &here))
        return 2;
    struct mdc_step step = {meet, 2, 0, 1};
    atomic_store(&arrived, 0);
    if (mdc_run_steps(pool, &step, 1, &place, 0))
        return 3;
    *found = 0;
    for (size_t i = 0; i < 64; ++i)
        *found |= (uint64_t)(CPU_ISSET(i, &workers) != 0) << i;
    mdc_pool_destroy(pool);
    return 0;
}
"""


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("pool")
    source = folder / "caller.c"
    source.write_text(CALLER_C)
    (folder / "mdc_runtime.h").write_bytes((RUNTIME / "mdc_runtime.h").read_bytes())
    return ctypes.CDLL(str(shared_library([source, RUNTIME / "mdc_runtime.c"], folder / "libcaller.so")))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems place threads by themselves")
@pytest.mark.parametrize("which", [0, -1])
def test_a_worker_that_sleeps_is_woken_on_another_processor_than_its_caller(caller: ctypes.CDLL, which: int) -> None:
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2 or max(allowed) > 63:
        pytest.skip(f"needs two processors below 64, this process has {sorted(allowed)}")
    found = ctypes.c_uint64()
    own = sorted(allowed)[which]
    try:
        assert caller.worker_processors(own, ctypes.byref(found)) == 0
    finally:
        os.sched_setaffinity(0, allowed)
    assert found.value == sum(1 << other for other in allowed - {own})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems place threads by themselves")
def test_a_process_with_one_processor_still_has_its_worker(caller: ctypes.CDLL) -> None:
    allowed = os.sched_getaffinity(0)
    own = min(allowed)
    found = ctypes.c_uint64()
    try:
        os.sched_setaffinity(0, {own})
        assert caller.worker_processors(own, ctypes.byref(found)) == 0
    finally:
        os.sched_setaffinity(0, allowed)
    assert found.value == 1 << own
