/* One pass over the scores finds each anchor's best class; a heap of anchors then gives the candidates best
 * first, one at a time, until enough boxes are kept. So neither a full sort nor the decoding of boxes nobody
 * looks at is paid for. In the regular mode an anchor returns to the heap with its next class. The kept boxes
 * equal those of TFLite's loops over classes: within a class the order is the same, and classes do not meet.
 *
 * Semantics: tflite/kernels/detection_postprocess.cc of google-ai-edge/LiteRT, which decodes in double. */
#include "postprocess.h"

#include <math.h>
#include <string.h>

/* A fused multiply-add would round the overlap otherwise than the reference. gcc has it off with -std=c11. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

enum { LANES = 16 };

struct candidate {
  float score;
  int32_t class_index; /* always 0 in the fast mode, where classes do not order candidates */
  int32_t anchor;
};

static int goes_before(const struct candidate *a, const struct candidate *b) {
  if (a->score != b->score) return a->score > b->score;
  if (a->class_index != b->class_index) return a->class_index < b->class_index;
  return a->anchor < b->anchor;
}

static void sift_down(struct candidate *heap, int32_t size, int32_t hole) {
  const struct candidate moving = heap[hole];
  for (;;) {
    int32_t child = 2 * hole + 1;
    if (child >= size) break;
    if (child + 1 < size && goes_before(&heap[child + 1], &heap[child])) child += 1;
    if (!goes_before(&heap[child], &moving)) break;
    heap[hole] = heap[child];
    hole = child;
  }
  heap[hole] = moving;
}

static float larger(float a, float b) { return a > b ? a : b; }
static float smaller(float a, float b) { return a < b ? a : b; }

/* Independent lanes: a compiler may not reorder one float maximum, but it can vectorise these. */
static float row_maximum(const float *row, int32_t length) {
  float best = -INFINITY;
  int32_t at = 0;
  if (length >= LANES) {
    float lane[LANES];
    memcpy(lane, row, sizeof lane);
    for (at = LANES; at + LANES <= length; at += LANES)
      for (int32_t k = 0; k < LANES; ++k) lane[k] = larger(row[at + k], lane[k]);
    for (int32_t k = 0; k < LANES; ++k) best = larger(lane[k], best);
  }
  for (; at < length; ++at) best = larger(row[at], best);
  return best;
}

static int32_t first_with(const float *row, int32_t length, float value) {
  for (int32_t at = 0; at < length; ++at)
    if (row[at] == value) return at;
  return 0;
}

/* The class that follows (score, class_index) in this anchor's order; 0 when there is none. */
static int next_class(const float *row, int32_t length, float threshold, struct candidate *entry) {
  const float score = entry->score;
  const int32_t after = entry->class_index;
  float best = -INFINITY;
  int32_t best_at = -1;
  for (int32_t at = 0; at < length; ++at) {
    const int later = row[at] < score || (row[at] == score && at > after);
    if (later && row[at] >= threshold && (best_at < 0 || row[at] > best)) {
      best = row[at];
      best_at = at;
    }
  }
  entry->score = best;
  entry->class_index = best_at;
  return best_at >= 0;
}

static int32_t fill_heap(const float *class_scores, const struct mdc_postprocess_options *options,
                         struct candidate *heap) {
  const int32_t classes = options->class_slots - 1;
  int32_t size = 0;
  for (int32_t anchor = 0; anchor < options->anchors; ++anchor) {
    const float *row = class_scores + (size_t)anchor * (size_t)options->class_slots + 1;
    const float best = row_maximum(row, classes);
    if (!(best >= options->score_threshold)) continue;
    heap[size].score = best;
    heap[size].class_index = options->regular ? first_with(row, classes, best) : 0;
    heap[size].anchor = anchor;
    size += 1;
  }
  for (int32_t hole = size / 2 - 1; hole >= 0; --hole) sift_down(heap, size, hole);
  return size;
}

static void decode(const float *encoding, const float *anchor, const struct mdc_postprocess_options *options,
                   float *box) {
  const double height = anchor[2], width = anchor[3];
  const float center_y = (float)((double)encoding[0] / (double)options->scale_y * height + (double)anchor[0]);
  const float center_x = (float)((double)encoding[1] / (double)options->scale_x * width + (double)anchor[1]);
  const float half_h = (float)(0.5 * exp((double)encoding[2] / (double)options->scale_h) * height);
  const float half_w = (float)(0.5 * exp((double)encoding[3] / (double)options->scale_w) * width);
  box[0] = center_y - half_h;
  box[1] = center_x - half_w;
  box[2] = center_y + half_h;
  box[3] = center_x + half_w;
}

static float overlap(const float *a, const float *b) {
  const float area_a = (a[2] - a[0]) * (a[3] - a[1]);
  const float area_b = (b[2] - b[0]) * (b[3] - b[1]);
  if (area_a <= 0.0f || area_b <= 0.0f) return 0.0f;
  const float height = larger(smaller(a[2], b[2]) - larger(a[0], b[0]), 0.0f);
  const float width = larger(smaller(a[3], b[3]) - larger(a[1], b[1]), 0.0f);
  const float shared = height * width;
  return shared / (area_a + area_b - shared);
}

/* Whether `box` joins the boxes kept so far: nothing better covers it and its class has room. */
static int is_kept(const float *box, int32_t class_index, const float *boxes, const float *classes, int32_t kept,
                   const struct mdc_postprocess_options *options) {
  int32_t of_class = 0;
  for (int32_t row = 0; row < kept; ++row) {
    if (options->regular && (int32_t)classes[row] != class_index) continue;
    if (overlap(boxes + 4 * (size_t)row, box) > options->iou_threshold) return 0;
    of_class += 1;
  }
  return !options->regular || of_class < options->detections_per_class;
}

static int32_t advance_heap(const float *row, const struct mdc_postprocess_options *options, struct candidate *heap,
                            int32_t size) {
  const int again =
      options->regular && next_class(row, options->class_slots - 1, options->score_threshold, &heap[0]);
  if (!again) heap[0] = heap[--size];
  if (size > 0) sift_down(heap, size, 0);
  return size;
}

size_t mdc_postprocess_scratch_bytes(const struct mdc_postprocess_options *options) {
  return (size_t)options->anchors * sizeof(struct candidate);
}

void mdc_postprocess(const float *box_encodings, const float *class_scores, const float *anchors,
                     const struct mdc_postprocess_options *options, void *scratch, float *boxes, float *classes,
                     float *scores, float *count) {
  struct candidate *heap = scratch;
  const size_t rows = (size_t)options->max_detections;
  int32_t size = fill_heap(class_scores, options, heap);
  int32_t kept = 0;
  memset(boxes, 0, rows * 4 * sizeof(float));
  memset(classes, 0, rows * sizeof(float));
  memset(scores, 0, rows * sizeof(float));
  while (size > 0 && kept < options->max_detections) {
    const struct candidate top = heap[0];
    const float *row = class_scores + (size_t)top.anchor * (size_t)options->class_slots + 1;
    float box[4];
    decode(box_encodings + 4 * (size_t)top.anchor, anchors + 4 * (size_t)top.anchor, options, box);
    if (is_kept(box, top.class_index, boxes, classes, kept, options)) {
      const int32_t found =
          options->regular ? top.class_index : first_with(row, options->class_slots - 1, top.score);
      memcpy(boxes + 4 * (size_t)kept, box, sizeof box);
      classes[kept] = (float)found;
      scores[kept] = top.score;
      kept += 1;
    }
    size = advance_heap(row, options, heap, size);
  }
  count[0] = (float)kept;
}

int mdc_detect(const struct mdc_postprocess_options *options, size_t scratch_bytes, const void *box_encodings,
               const void *class_scores, const void *anchors, void *scratch, void *boxes, void *classes, void *scores,
               void *count) {
  if (mdc_postprocess_scratch_bytes(options) > scratch_bytes) return 1;
  mdc_postprocess(box_encodings, class_scores, anchors, options, scratch, boxes, classes, scores, count);
  return 0;
}
