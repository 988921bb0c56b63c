/* The DSP's side of detector.idl: model.h behind FastRPC. Built by the vendor's compiler, see README.md. */
#include "AEEStdErr.h"
#include "detector.h"
#include "model.h"
#include "qurt_hvx.h"

#include <stdint.h>
#include <stdlib.h>

struct session {
    model_context *model;
};

int detector_open(const char *uri, remote_handle64 *handle) {
    (void)uri;
    struct session *session = malloc(sizeof *session);
    if (!session)
        return AEE_ENOMEMORY;
    session->model = model_create(1); /* the calling thread holds the vector unit; a pool's threads would not */
    if (!session->model) {
        free(session);
        return AEE_ENOMEMORY;
    }
    *handle = (remote_handle64)(uintptr_t)session;
    return AEE_SUCCESS;
}

int detector_close(remote_handle64 handle) {
    struct session *session = (struct session *)(uintptr_t)handle;
    model_destroy(session->model);
    free(session);
    return AEE_SUCCESS;
}

int detector_run(remote_handle64 handle, const unsigned char *image, int image_count, float *boxes, int boxes_count,
                 float *classes, int classes_count, float *scores, int scores_count, float *count, int count_count) {
    struct session *session = (struct session *)(uintptr_t)handle;
    if (image_count != MODEL_IMAGE_COUNT || boxes_count != MODEL_BOXES_COUNT ||
        classes_count != MODEL_CLASSES_COUNT || scores_count != MODEL_SCORES_COUNT || count_count != MODEL_COUNT_COUNT)
        return AEE_EBADPARM;
    if (qurt_hvx_lock(QURT_HVX_MODE_128B))
        return AEE_ERESOURCENOTFOUND;
    int failed = model_run(session->model, image, boxes, classes, scores, count);
    qurt_hvx_unlock();
    return failed ? AEE_EFAILED : AEE_SUCCESS;
}
