/* Opening the CUDA driver, and what its errors mean. */
#include "mdc_cuda_driver.h"
#include "mdc_cuda.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRIVER "libcuda.so.1"

static _Thread_local char last_error[1024];
static struct mdc_cuda_driver driver;
static char driver_error[512];
static pthread_once_t driver_once = PTHREAD_ONCE_INIT;

/* What a user can do about an error, by its number in cuda.h. */
static const struct {
    CUresult result;
    const char *advice;
} advices[] = {
    {2, "Free memory of the GPU: other programs or contexts hold it"},
    {34, "The library is a stub for linking: put the driver's own folder first on the library path"},
    {46, "Another program holds the GPU exclusively, or its compute mode forbids use"},
    {100, "This machine has no NVIDIA GPU that the driver sees"},
    {101, "CUDA_VISIBLE_DEVICES may hide the GPU"},
    {200, "The driver cannot read this machine code: update it, or compile the network for this GPU"},
    {209, "The network was compiled for another GPU: choose the target of this one"},
    {214, "The GPU's memory has a fault that it could not correct: reset or replace it"},
    {218, "The driver cannot translate the network for this GPU: compile it for this GPU"},
    {221, "The driver lacks its compiler (libnvidia-ptxjitcompiler): compile the network for this GPU"},
    {222, "The driver is older than the code: update it, or compile the network for this GPU"},
    {700, "This is a fault of a kernel: send the artifact and the input"},
    {701, "The kernel needs more registers or threads than this GPU has: choose the target of this one"},
    {702, "The display's watchdog ended the kernel: use a GPU without a display, or switch the watchdog off"},
    {716, "This is a fault of a kernel: send the artifact and the input"},
    {719, "This is a fault of a kernel: send the artifact and the input"},
    {802, "The system is still starting (fabric manager): try again later"},
    {803, "The driver and its library are of different versions: restart the machine or install them anew"},
    {804, "The compatibility package does not support this GPU: use the driver's own library"},
    {999, "Restart the program; if it stays, the driver"},
};

int mdc_cuda_fail(const char *what, const char *message) {
    snprintf(last_error, sizeof last_error, "%s: %s.", what, message);
    return 1;
}

void mdc_cuda_forget_error(void) { last_error[0] = 0; }

const char *mdc_cuda_error(void) { return last_error; }

static const char *advice_for(CUresult result) {
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++)
        if (advices[i].result == result)
            return advices[i].advice;
    return "See the CUDA driver API's list of errors";
}

int mdc_cuda_check(const char *what, CUresult result) {
    if (result == CUDA_SUCCESS)
        return 0;
    const char *name = NULL, *text = NULL;
    if (driver.cuGetErrorName(result, &name) != CUDA_SUCCESS || !name)
        name = "unknown error";
    if (driver.cuGetErrorString(result, &text) != CUDA_SUCCESS || !text)
        text = "the driver has no words for it";
    char message[768];
    snprintf(message, sizeof message, "%s (%d), %s. %s", name, result, text, advice_for(result));
    return mdc_cuda_fail(what, message);
}

static void open_driver(void) {
    const char *path = getenv("MDC_LIBCUDA");
    if (!path || !*path)
        path = DRIVER;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(driver_error, sizeof driver_error, "%s cannot be opened (%s). Install NVIDIA's driver", path,
                 dlerror());
        return;
    }
#define OPEN(name, symbol, parameters)                                                                                 \
    *(void **)&driver.name = dlsym(library, #symbol);                                                                  \
    if (!driver.name) {                                                                                                \
        snprintf(driver_error, sizeof driver_error, "%s has no %s. Update NVIDIA's driver to CUDA 11.4 or later",     \
                 path, #symbol);                                                                                       \
        return;                                                                                                        \
    }
    MDC_CUDA_FUNCTIONS(OPEN)
#undef OPEN
}

const struct mdc_cuda_driver *mdc_cuda_driver(void) {
    pthread_once(&driver_once, open_driver);
    if (!driver_error[0])
        return &driver;
    mdc_cuda_fail("opening the CUDA driver", driver_error);
    return NULL;
}
