/* Detect objects in pictures of raw RGB bytes: ./detect [-t THREADS] FILE... The library lies beside the program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model.h"

static uint8_t image[MODEL_IMAGE_COUNT];
static float boxes[MODEL_BOXES_COUNT], classes[MODEL_CLASSES_COUNT], scores[MODEL_SCORES_COUNT], count[1];

static int read_picture(const char *path) {
    FILE *file = fopen(path, "rb");
    int good = file && fread(image, 1, sizeof image, file) == sizeof image && fgetc(file) == EOF;
    if (file)
        fclose(file);
    if (!good)
        fprintf(stderr, "%s: not a file of %zu bytes, height x width x RGB\n", path, sizeof image);
    return good;
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int detect(model_context *model, const char *path) {
    if (!read_picture(path))
        return 2;
    double start = milliseconds();
    if (model_run(model, image, boxes, classes, scores, count))
        return fputs("the model failed\n", stderr), 1;
    printf("%s: %d found, %.1f ms\n", path, (int)count[0], milliseconds() - start);
    for (int i = 0; i < (int)count[0]; i++) {
        const float *box = boxes + 4 * i; /* ymin, xmin, ymax, xmax, from 0 to 1 */
        printf("  class %d, score %.3f, box %.4f %.4f %.4f %.4f\n", (int)classes[i], scores[i], box[0], box[1], box[2], box[3]);
    }
    return 0;
}

int main(int argc, char **argv) {
    int first = argc > 2 && !strcmp(argv[1], "-t") ? 3 : 1, failed = first == argc ? 2 : 0;
    model_context *model = model_create(first == 3 ? atoi(argv[2]) : 1);
    if (!model)
        return fputs("no memory, or this processor lacks instructions that the model was compiled for\n", stderr), 1;
    for (int i = first; i < argc && !failed; i++)
        failed = detect(model, argv[i]);
    model_destroy(model);
    return failed;
}
