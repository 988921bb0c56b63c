/* See mdc_run.h. */
#define _POSIX_C_SOURCE 200809L

#include "mdc_run.h"

#include "mdc_runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ALIGNMENT 64 /* what vector loads of the kernels may assume */
#define SHOWN_SCORE 0.3f
#define SHOWN_AT_LEAST 3
#define MOST_THREADS 1024
#define MOST_RUNS 100000000

struct options {
    int threads;
    int runs;
    int kernels; /* one run with the time of every kernel */
    char **files;
    int file_count;
};

static int usage(const char *program, const struct mdc_run_model *model) {
    fprintf(stderr, "usage: %s [-t THREADS] [-n RUNS] [-k]", program);
    for (int i = 0; i < model->inputs; ++i)
        fprintf(stderr, " IN%d", i + 1);
    fputs(model->outputs ? " [OUT1 ...]\n" : "\n", stderr);
    for (int i = 0; i < model->inputs + model->outputs; ++i)
        fprintf(stderr, "  %s %s: %s, %zu bytes\n", i < model->inputs ? "IN " : "OUT", model->tensors[i].name,
                model->tensors[i].type, model->tensors[i].bytes);
    fputs("Files hold raw elements in row-major order. -n times that many runs, -k every kernel of one run.\n", stderr);
    fprintf(stderr, "THREADS is at most %d, RUNS at most %d.\n", MOST_THREADS, MOST_RUNS);
    return 2;
}

/* 0, or 1 when `text` is no whole number from 1 to `most`. */
static int parse_number(const char *text, long most, int *number) {
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 1 || value > most)
        return 1;
    *number = (int)value;
    return 0;
}

/* 0, or 1 when the arguments are wrong. */
static int parse(int argc, char **argv, const struct mdc_run_model *model, struct options *options) {
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; ++i) {
        int threads = !strcmp(argv[i], "-t"), runs = !strcmp(argv[i], "-n");
        if (!strcmp(argv[i], "-k"))
            options->kernels = 1;
        else if (!(threads || runs) || ++i == argc ||
                 parse_number(argv[i], threads ? MOST_THREADS : MOST_RUNS, threads ? &options->threads : &options->runs))
            return 1;
    }
    options->files = argv + i;
    options->file_count = argc - i;
    return options->file_count != model->inputs && options->file_count != model->inputs + model->outputs;
}

static int read_file(const char *path, const struct mdc_run_tensor *tensor, void *memory) {
    FILE *file = fopen(path, "rb");
    size_t got = file ? fread(memory, 1, tensor->bytes, file) : 0;
    int more = file ? fgetc(file) != EOF : 0;
    if (file)
        fclose(file);
    if (file && got == tensor->bytes && !more)
        return 0;
    fprintf(stderr, "%s: %s; %s is %s, %zu bytes\n", path, file ? "wrong size" : "cannot be read", tensor->name,
            tensor->type, tensor->bytes);
    return 1;
}

static int write_file(const char *path, const struct mdc_run_tensor *tensor, const void *memory) {
    FILE *file = fopen(path, "wb");
    size_t put = file ? fwrite(memory, 1, tensor->bytes, file) : 0;
    int closed = file ? fclose(file) : 1;
    if (put == tensor->bytes && !closed)
        return 0;
    fprintf(stderr, "%s cannot be written\n", path);
    return 1;
}

static uint64_t nanoseconds_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int ascending(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static int time_runs(void *context, const struct mdc_run_model *model, void **memory, int runs) {
    uint64_t *times = calloc((size_t)runs, sizeof *times);
    int failed = !times;
    for (int i = 0; i < runs && !failed; ++i) {
        uint64_t start = nanoseconds_now();
        failed = model->profile(context, memory, NULL);
        times[i] = nanoseconds_now() - start;
    }
    if (!failed && runs > 1) {
        qsort(times, (size_t)runs, sizeof *times, ascending);
        printf("%d runs: median %.3f ms, fastest %.3f ms\n", runs, (double)times[runs / 2] / 1e6,
               (double)times[0] / 1e6);
    }
    free(times);
    return failed;
}

static int print_kernels(void *context, const struct mdc_run_model *model, void **memory) {
    int count = model->kernel_count();
    uint64_t *spent = calloc((size_t)count + 1, sizeof *spent);
    int failed = !spent || model->profile(context, memory, spent);
    for (int i = 0; i < count && !failed; ++i)
        printf("%12.3f us  %s\n", (double)spent[i] / 1e3, model->kernel_name(i));
    free(spent);
    return failed;
}

/* The output of that name and, in `rows`, how many rows of `width` floats it has; NULL when there is none of floats. */
static const float *output(const struct mdc_run_model *model, void **memory, const char *name, size_t width,
                           size_t *rows) {
    for (int i = model->inputs; i < model->inputs + model->outputs; ++i) {
        if (strcmp(model->tensors[i].name, name) || strncmp(model->tensors[i].type, "float32", 7))
            continue;
        *rows = model->tensors[i].bytes / (width * sizeof(float));
        return memory[i];
    }
    return NULL;
}

static size_t fewest(size_t a, size_t b, size_t c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }

/* Other networks than detectors may have outputs of these names, and any numbers in them. */
static void print_detections(const struct mdc_run_model *model, void **memory) {
    size_t with_box, with_class, with_score, counts;
    const float *boxes = output(model, memory, "boxes", 4, &with_box);
    const float *classes = output(model, memory, "classes", 1, &with_class);
    const float *scores = output(model, memory, "scores", 1, &with_score);
    const float *count = output(model, memory, "count", 1, &counts);
    if (!boxes || !classes || !scores || !count || counts != 1)
        return;
    puts("score  ymin  xmin  ymax  xmax  class");
    size_t rows = fewest(with_box, with_class, with_score);
    for (size_t i = 0; i < rows && (float)i < count[0] && (i < SHOWN_AT_LEAST || scores[i] >= SHOWN_SCORE); ++i) {
        const float *box = boxes + 4 * i;
        int known = classes[i] >= 0.0f && classes[i] < (float)model->label_count;
        printf("%.3f  %.3f %.3f %.3f %.3f  %.0f %s\n", (double)scores[i], (double)box[0], (double)box[1],
               (double)box[2], (double)box[3], (double)classes[i], known ? model->labels[(int)classes[i]] : "");
    }
}

static int run(const struct mdc_run_model *model, const struct options *options, void **memory) {
    void *context = model->create(options->threads);
    if (!context) {
        fprintf(stderr, "%s\n", model->error());
        return 1;
    }
    int failed = options->kernels ? print_kernels(context, model, memory)
                                  : time_runs(context, model, memory, options->runs);
    if (failed)
        fprintf(stderr, "the model failed. %s\n", model->error());
    model->destroy(context);
    return failed;
}

static int run_on_files(const struct mdc_run_model *model, const struct options *options, void **memory) {
    for (int i = 0; i < model->inputs; ++i)
        if (read_file(options->files[i], &model->tensors[i], memory[i]))
            return 2;
    if (run(model, options, memory))
        return 1;
    if (options->file_count == model->inputs)
        print_detections(model, memory);
    for (int i = model->inputs; i < options->file_count; ++i)
        if (write_file(options->files[i], &model->tensors[i], memory[i]))
            return 2;
    return 0;
}

int mdc_run_main(int argc, char **argv, const struct mdc_run_model *model) {
    struct options options = {.threads = 1, .runs = 1};
    if (parse(argc, argv, model, &options))
        return usage(argc ? argv[0] : "model_run", model);
    int tensors = model->inputs + model->outputs, missing = 0;
    void **memory = calloc((size_t)tensors + 1, sizeof *memory);
    for (int i = 0; memory && i < tensors; ++i)
        missing |= !(memory[i] = mdc_allocate(model->tensors[i].bytes, ALIGNMENT));
    int status = memory && !missing ? run_on_files(model, &options, memory) : 1;
    for (int i = 0; memory && i < tensors; ++i)
        mdc_release(memory[i]);
    free(memory);
    return status;
}
