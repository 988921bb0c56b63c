/* A program around a model: reads its inputs from files, writes its outputs to files. */
#ifndef MDC_RUN_H
#define MDC_RUN_H

#include <stddef.h>
#include <stdint.h>

struct mdc_run_tensor {
    const char *name;
    const char *type; /* element type and shape, for the user */
    size_t bytes;
};

/* tensors: inputs first. profile: as model_profile, the tensors in order. labels: names of the classes. error: why
 * the last call failed; NULL where the model does not say. */
struct mdc_run_model {
    const struct mdc_run_tensor *tensors;
    int inputs;
    int outputs;
    const char *const *labels;
    int label_count;
    void *(*create)(int threads);
    void (*destroy)(void *context);
    int (*profile)(void *context, void *const *tensors, uint64_t *nanoseconds);
    int (*kernel_count)(void);
    const char *(*kernel_name)(int index);
    const char *(*error)(void);
};

/* The whole program; returns its exit status: 0, 1 when the model cannot run here, 2 for wrong arguments. */
int mdc_run_main(int argc, char **argv, const struct mdc_run_model *model);

#endif
