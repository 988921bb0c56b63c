/* Post-processing of numbers that no detector gives, in buffers that are not a float too long. */
#include "postprocess.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t state = 1;

static uint32_t random_below(uint32_t limit) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % limit;
}

static float odd_number(int odd) {
    static const float odd_ones[] = {0.0f, -0.0f, 1.0f, -1.0f, 1e-38f, 1e38f, -1e38f, 700.0f, INFINITY, -INFINITY, NAN};
    if (random_below(100) < (uint32_t)odd)
        return odd_ones[random_below(sizeof odd_ones / sizeof *odd_ones)];
    return (float)random_below(1000) / 1000.0f;
}

static float *numbers(size_t count, int odd) {
    float *made = malloc(count * sizeof *made);
    for (size_t i = 0; made && i < count; ++i)
        made[i] = odd_number(odd);
    return made;
}

static int try_once(int odd) {
    struct mdc_postprocess_options o = {
        .anchors = 1 + (int32_t)random_below(40),
        .class_slots = 2 + (int32_t)random_below(40),
        .max_detections = 1 + (int32_t)random_below(20),
        .detections_per_class = 1 + (int32_t)random_below(5),
        .regular = (int32_t)random_below(2),
        .score_threshold = odd_number(odd),
        .iou_threshold = odd_number(odd),
        .scale_y = 10.0f, .scale_x = 10.0f, .scale_h = 5.0f, .scale_w = 5.0f,
    };
    size_t anchors = (size_t)o.anchors, rows = (size_t)o.max_detections;
    float *encodings = numbers(4 * anchors, odd), *given = numbers(4 * anchors, odd);
    float *class_scores = numbers(anchors * (size_t)o.class_slots, odd);
    float *boxes = numbers(4 * rows, 0), *classes = numbers(rows, 0), *scores = numbers(rows, 0), *count = numbers(1, 0);
    size_t bytes = mdc_postprocess_scratch_bytes(&o);
    void *scratch = malloc(bytes);
    int failed = mdc_detect(&o, bytes, encodings, class_scores, given, scratch, boxes, classes, scores, count);
    failed |= !(count[0] >= 0.0f && count[0] <= (float)rows && count[0] <= (float)(anchors * (size_t)o.class_slots));
    for (size_t i = 0; i < rows; ++i)
        failed |= !(classes[i] >= 0.0f && classes[i] < (float)(o.class_slots - 1));
    failed |= !mdc_detect(&o, bytes - 1, encodings, class_scores, given, scratch, boxes, classes, scores, count);
    free(encodings), free(given), free(class_scores), free(boxes), free(classes), free(scores), free(count);
    free(scratch);
    return failed;
}

int main(void) {
    for (int i = 0; i < 4000; ++i)
        if (try_once(i % 4 * 20))
            return fprintf(stderr, "case %d\n", i), 1;
    return 0;
}
