/* Detect objects in pictures of raw RGB bytes with one context, and the time each takes:
 * cc -O2 -I DIR detect.c DIR/model.so -Wl,-rpath,DIR -o detect && ./detect one.rgb two.rgb */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <time.h>

#include "model.h"

static uint8_t image[MODEL_IMAGE_COUNT];
static float boxes[MODEL_BOXES_COUNT], classes[MODEL_CLASSES_COUNT], scores[MODEL_SCORES_COUNT], count[1];

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int detect(model_context *model, const char *path) {
    FILE *file = fopen(path, "rb");
    const size_t got = file ? fread(image, 1, sizeof image, file) : 0;
    if (file)
        fclose(file);
    if (got != sizeof image)
        return fprintf(stderr, "%s: wanted are %zu bytes, height x width x RGB\n", path, sizeof image), 1;
    const double start = milliseconds();
    if (model_run(model, image, boxes, classes, scores, count))
        return fprintf(stderr, "%s\n", model_error()), 1;
    printf("%s: %.3f ms\n", path, milliseconds() - start);
    for (int i = 0; i < (int)count[0]; i++) {
        const float *box = boxes + 4 * i; /* ymin, xmin, ymax, xmax, from 0 to 1 */
        printf("%d %.6f %.6f %.6f %.6f %.6f\n", (int)classes[i], scores[i], box[0], box[1], box[2], box[3]);
    }
    return 0;
}

int main(int argc, char **argv) {
    model_context *model = model_create(1);
    if (!model)
        return fprintf(stderr, "%s\n", model_error()), 1;
    fprintf(stderr, "%s\n", model_device());
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= detect(model, argv[i]);
    model_destroy(model);
    return failed;
}
