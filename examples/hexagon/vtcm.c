/* VTCM for the model: its two weak functions, filled by the vendor's manager. Without this file plain memory serves. */
#include "HAP_vtcm_mgr.h"
#include "model.h"

void *model_near_acquire(size_t bytes) {
    return HAP_request_VTCM((unsigned)bytes, 1); /* one page, so that no vector crosses two; NULL when others have it */
}

void model_near_release(void *memory) { HAP_release_VTCM(memory); }
