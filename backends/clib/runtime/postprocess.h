/* Box decoding and non-maximum suppression after an SSD head, with the two modes of TensorFlow Lite's
 * TFLite_Detection_PostProcess. C11, no allocation, no state, needs only libm. */
#ifndef MDC_POSTPROCESS_H
#define MDC_POSTPROCESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mdc_postprocess_options {
  int32_t anchors;              /* A, at least 1 */
  int32_t class_slots;          /* K, the background in slot 0 included, at least 2 */
  int32_t max_detections;       /* N, rows of the outputs, at least 1 */
  int32_t detections_per_class; /* regular mode only: limit for one class, at least 1 */
  int32_t regular;              /* 0: suppress over each anchor's best class; else within each class */
  float score_threshold;        /* candidates have at least this score */
  float iou_threshold;          /* a box that overlaps a better one by more is dropped */
  float scale_y, scale_x, scale_h, scale_w;
};

/* Bytes that `scratch` below must have; its alignment is that of a float. */
size_t mdc_postprocess_scratch_bytes(const struct mdc_postprocess_options *options);

/* box_encodings [A,4] and anchors [A,4] are (y, x, h, w) with centers; class_scores [A,K] are probabilities.
 * Writes boxes [N,4] (ymin, xmin, ymax, xmax), classes [N] (0 is the class of slot 1), scores [N], count [1],
 * best first; equal scores by lower class (regular mode), then by lower anchor; rows from count on are zero. */
void mdc_postprocess(const float *box_encodings, const float *class_scores, const float *anchors,
                     const struct mdc_postprocess_options *options, void *scratch, float *boxes, float *classes,
                     float *scores, float *count);

/* The same for untyped memory; 1 if scratch, of scratch_bytes, is too small, else 0. */
int mdc_detect(const struct mdc_postprocess_options *options, size_t scratch_bytes, const void *box_encodings,
               const void *class_scores, const void *anchors, void *scratch, void *boxes, void *classes, void *scores,
               void *count);

#ifdef __cplusplus
}
#endif

#endif
