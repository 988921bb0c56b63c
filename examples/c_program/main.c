/* Detect objects in a picture of raw RGB bytes: cc -I DIR main.c DIR/model.so -o detect && ./detect picture.rgb */
#include <stdio.h>
#include "model.h"

int main(int argc, char **argv) {
    static uint8_t image[MODEL_IMAGE_COUNT];
    static float boxes[MODEL_BOXES_COUNT], classes[MODEL_CLASSES_COUNT], scores[MODEL_SCORES_COUNT], count[1];
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!file || fread(image, 1, sizeof image, file) != sizeof image)
        return fprintf(stderr, "give a file of %zu bytes: height x width x RGB\n", sizeof image), 2;

    model_context *model = model_create(1);
    if (!model || model_run(model, image, boxes, classes, scores, count))
        return fputs("this machine cannot run the model\n", stderr), 1;
    for (int i = 0; i < (int)count[0]; i++) {
        const float *box = boxes + 4 * i; /* ymin, xmin, ymax, xmax, from 0 to 1 */
        printf("%d %.6f %.6f %.6f %.6f %.6f\n", (int)classes[i], scores[i], box[0], box[1], box[2], box[3]);
    }
    model_destroy(model);
    return fclose(file);
}
