/* Strips of rows that slide down and up a picture: rows that are kept have their content, nothing else is touched. */
#include "mdc_runtime.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t state = 1;

static int32_t random_below(int32_t limit) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int32_t)((uint32_t)(state >> 33) % (uint32_t)limit);
}

static uint8_t content(int32_t plane, int32_t row) { return (uint8_t)(plane * 31 + row * 7 + 1); }

static int slide_over_a_picture(void) {
    int32_t rows = 1 + random_below(9), planes = 1 + random_below(4), height = rows + random_below(60);
    size_t row_bytes = (size_t)(1 + random_below(70)), plane_bytes = row_bytes * (size_t)rows;
    uint8_t *strip = malloc(plane_bytes * (size_t)planes);
    struct mdc_window window = {0, 0};
    int failed = 0;
    for (int turn = 0; turn < 30; ++turn) {
        int32_t low = turn % 7 ? mdc_at_most(window.low + random_below(rows), height - 1) : random_below(height);
        int32_t high = mdc_at_most(low + 1 + random_below(rows), mdc_at_most(low + rows, height));
        int32_t first = mdc_slide(&window, strip, planes, plane_bytes, row_bytes, low, high);
        failed |= first < low;
        for (int32_t plane = 0; plane < planes; ++plane)
            for (int32_t row = low; row < high; ++row)
                for (size_t i = 0; i < row_bytes; ++i) {
                    uint8_t *at = strip + plane_bytes * (size_t)plane + row_bytes * (size_t)(row - low) + i;
                    if (row >= first)
                        *at = content(plane, row);
                    failed |= *at != content(plane, row);
                }
    }
    free(strip);
    return failed;
}

int main(void) {
    for (int i = 0; i < 500; ++i)
        if (slide_over_a_picture())
            return fprintf(stderr, "picture %d\n", i), 1;
    return 0;
}
