/* A plug-in for qemu-aarch64: how many instructions each kernel of a model_run takes.
 *
 *     qemu-aarch64 -plugin ./count.so,out=FILE model_run -k IN...
 *
 * FILE gets one line for every kernel, in the order of their numbers: all instructions, those that multiply and add,
 * those that load or store. The border of a step is marked by hints, see mdc_runtime.c. The interface is version 1 of
 * qemu-plugin.h (docs/devel/tcg-plugins.rst); the few functions needed are declared here, so no header is.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MOST_KERNELS 4096
#define HINT(number) (0xd503201fu | (unsigned)(number) << 5)

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

EXPORT int qemu_plugin_version = 1;

enum { ALL, MULTIPLY, MEMORY, KINDS };
static uint64_t now[KINDS], start[KINDS], step[KINDS];
static uint64_t spent[MOST_KERNELS][KINDS];
static int kernel = -1, kernels = 0;
static char path[4096];

struct pattern {
    uint32_t mask, bits;
};

/* Arm ARM, C4.1: multiply-adds of vectors and scalars, dot products, matrix products. */
static const struct pattern multiplies[] = {
    {0xbf20fc00, 0x0e20cc00}, /* fmla, fmls */
    {0xbf80f400, 0x0f801000}, /* fmla by element */
    {0xff000000, 0x1f000000}, /* fmadd and its kin */
    {0x9fe0fc00, 0x0e809400}, /* sdot, udot */
    {0x9fc0f400, 0x0f80e000}, /* the same by element */
    {0xbfe0fc00, 0x0e809c00}, /* usdot */
    {0x9fe0f400, 0x0e80a400}, /* smmla, ummla, usmmla */
    {0xbf20fc00, 0x0e209400}, /* mla */
    {0xbf00f400, 0x2f000000}, /* mla by element */
    {0x9f20fc00, 0x0e208000}, /* smlal, umlal */
    {0x9f00f400, 0x0f002000}, /* the same by element */
};

static int multiplies_and_adds(uint32_t word) {
    for (size_t i = 0; i < sizeof multiplies / sizeof *multiplies; ++i)
        if ((word & multiplies[i].mask) == multiplies[i].bits)
            return 1;
    return 0;
}

static int loads_or_stores(uint32_t word) { return (word & 0x0a000000) == 0x08000000; }

static void at_start(unsigned cpu, void *data) {
    (void)cpu, (void)data;
    memcpy(start, now, sizeof start);
}

static void at_end(unsigned cpu, void *data) {
    (void)cpu, (void)data;
    for (int kind = 0; kind < KINDS; ++kind)
        step[kind] = now[kind] - start[kind];
    kernel = -1;
}

/* Once for every kernel up to the one whose step it was: what the step took moves on with each. */
static void at_number(unsigned cpu, void *data) {
    (void)cpu, (void)data;
    if (kernel + 1 >= MOST_KERNELS)
        return;
    for (int kind = 0; kind < KINDS; ++kind) {
        if (kernel >= 0)
            spent[kernel][kind] -= step[kind];
        spent[kernel + 1][kind] += step[kind];
    }
    if (++kernel >= kernels)
        kernels = kernel + 1;
}

static void count(struct qemu_plugin_insn *instruction, int kind) {
    qemu_plugin_register_vcpu_insn_exec_inline(instruction, 0, &now[kind], 1);
}

static void translate(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); ++i) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
        count(instruction, ALL);
        if (multiplies_and_adds(word))
            count(instruction, MULTIPLY);
        if (loads_or_stores(word))
            count(instruction, MEMORY);
        void (*mark)(unsigned, void *) =
            word == HINT(100) ? at_start : word == HINT(101) ? at_end : word == HINT(102) ? at_number : NULL;
        if (mark)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, mark, 0, NULL);
    }
}

static void report(plugin_id id, void *data) {
    (void)id, (void)data;
    FILE *file = fopen(path, "w");
    for (int i = 0; file && i < kernels; ++i)
        fprintf(file, "%llu %llu %llu\n", (unsigned long long)spent[i][ALL], (unsigned long long)spent[i][MULTIPLY],
                (unsigned long long)spent[i][MEMORY]);
    if (file)
        fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; ++i)
        if (!strncmp(argv[i], "out=", 4) && strlen(argv[i]) < sizeof path)
            strcpy(path, argv[i] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, report, NULL);
    return 0;
}
