"""What one core of this machine can do at most: multiply-adds a second and bytes read a second, measured.

    python -m tests.benchmarks.peaks

A C program keeps independent accumulators busy with multiply-adds of a target's vectors (fp32: fused
multiply-add; int8: vpdpbusd, without VNNI pmaddubsw, pmaddwd and paddd) and reads buffers of several sizes.
Times are the shortest of many, so that a busy machine is measured between its other work.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mdcompiler.target import Target, find_target
from tests.c_compiler import compilers

BUFFER_KIB = (24, 512, 4096, 16384, 131072)
"""Sizes that fit the first, second and third level of a usual server core's caches, and one that fits none."""

_PROGRAM = r"""
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHAINS 12
typedef float vec __attribute__((vector_size(WIDTH)));

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static volatile float factor = 0.9999f, term = 1e-4f;
static volatile float kept;

/* Multiply-adds of 32-bit floats a second. */
static double float_rate(void) {
    enum { ROUNDS = 20000 };
    vec x = (vec){} + factor, y = (vec){} + term, chain[CHAINS];
    for (int i = 0; i < CHAINS; ++i)
        chain[i] = (vec){} + (float)i;
    double begin = now();
    for (int round = 0; round < ROUNDS; ++round) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; ++i)
            chain[i] = chain[i] * x + y;
        __asm__ volatile("" : "+x"(x));
    }
    double spent = now() - begin;
    for (int i = 0; i < CHAINS; ++i)
        kept += chain[i][0];
    return (double)ROUNDS * CHAINS * (WIDTH / 4) / spent;
}

#if VNNI
typedef __m512i ints;
#define SPLAT(value) _mm512_set1_epi8(value)
#define DOT(sum) (sum) = _mm512_dpbusd_epi32((sum), x, y)
#else
typedef __m256i ints;
#define SPLAT(value) _mm256_set1_epi8(value)
#define DOT(sum) (sum) = _mm256_add_epi32((sum), _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones))
#endif

/* Multiply-adds of bytes a second. */
static double byte_rate(void) {
    enum { ROUNDS = 20000 };
    ints x = SPLAT((char)(factor * 3)), y = SPLAT((char)(factor * 5)), chain[CHAINS];
    for (int i = 0; i < CHAINS; ++i)
        chain[i] = SPLAT((char)i);
#if !VNNI
    const __m256i ones = _mm256_set1_epi16(1);
#endif
    double begin = now();
    for (int round = 0; round < ROUNDS; ++round) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; ++i)
            DOT(chain[i]);
        __asm__ volatile("" : "+x"(x));
    }
    double spent = now() - begin;
    for (int i = 0; i < CHAINS; ++i)
        kept += (float)chain[i][0];
    return (double)ROUNDS * CHAINS * sizeof(ints) / spent;
}

/* Bytes read a second from a buffer that is read over and over. */
static double read_rate(const vec *buffer, size_t bytes) {
    size_t count = bytes / sizeof(vec), rounds = 1 + (size_t)(1 << 22) / bytes;
    vec sum[8] = {(vec){}};
    double begin = now();
    for (size_t round = 0; round < rounds; ++round) {
        for (size_t i = 0; i + 8 <= count; i += 8)
#pragma GCC unroll 8
            for (int j = 0; j < 8; ++j)
                sum[j] += buffer[i + (size_t)j];
        __asm__ volatile("" ::: "memory");
    }
    double spent = now() - begin;
    for (int j = 0; j < 8; ++j)
        kept += sum[j][0];
    return (double)rounds * (double)bytes / spent;
}

static double larger(double a, double b) { return a > b ? a : b; }

int main(int count, char **words) {
    double floats = 0, bytes = 0;
    for (int i = 0; i < 200; ++i) {
        floats = larger(floats, float_rate());
        bytes = larger(bytes, byte_rate());
    }
    printf("{\"float\": %.0f, \"byte\": %.0f, \"read\": [", floats, bytes);
    for (int word = 1; word < count; ++word) {
        size_t size = (size_t)atol(words[word]) * 1024;
        vec *buffer = NULL;
        if (posix_memalign((void **)&buffer, 64, size))
            return 1;
        memset(buffer, 0, size);
        double rate = 0;
        for (int i = 0; i < 30; ++i)
            rate = larger(rate, read_rate(buffer, size));
        printf("%s%.0f", word > 1 ? ", " : "", rate);
        free(buffer);
    }
    printf("]}\n");
    return 0;
}
"""


@dataclass(frozen=True)
class Peaks:
    """A second, on one core: multiply-adds of float32 and of bytes; bytes read from buffers of given sizes."""

    float_macs: float
    byte_macs: float
    read_bytes: dict[int, float]

    def macs(self, precision: str) -> float:
        """Multiply-adds a second in `precision`."""
        return self.float_macs if precision == "fp32" else self.byte_macs

    def bandwidth(self, working_set_bytes: int) -> float:
        """Bytes a second where data of that size lives: of the smallest buffer measured that is as large."""
        fitting = [size for size in self.read_bytes if size >= working_set_bytes]
        return self.read_bytes[min(fitting, default=max(self.read_bytes))]


def measure(target: Target) -> Peaks:
    """Peaks of this core with the vectors of `target`. Raises CalledProcessError where they cannot be compiled."""
    vnni = int("avx512_vnni" in target.cpu_flags)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "peaks.c").write_text(_PROGRAM)
        flags = ["-std=gnu11", "-O3", "-march=native", f"-DWIDTH={target.vector_bytes}", f"-DVNNI={vnni}"]
        subprocess.run([*compilers()[0], *flags, "peaks.c", "-o", "peaks"], cwd=folder, check=True)
        command = [str(folder / "peaks"), *map(str, BUFFER_KIB)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    sizes = [kib * 1024 for kib in BUFFER_KIB]
    return Peaks(found["float"], found["byte"], dict(zip(sizes, found["read"], strict=True)))


def main() -> None:
    peaks = measure(find_target("cpu"))
    print(f"fp32 {2 * peaks.float_macs / 1e9:.0f} GFLOP/s, int8 {2 * peaks.byte_macs / 1e9:.0f} GOP/s")
    for size, rate in peaks.read_bytes.items():
        print(f"reading {size // 1024:7} KiB: {rate / 1e9:.0f} GB/s")


if __name__ == "__main__":
    main()
