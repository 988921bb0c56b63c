/* The part of the CUDA driver API that is used, declared anew: no header of NVIDIA's is needed to build a model. */
#ifndef MDC_CUDA_DRIVER_H
#define MDC_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef int CUresult;
typedef int CUdevice;
typedef uint64_t CUdeviceptr;

#define CUDA_SUCCESS 0

/* result name(parameters); the symbol may carry the suffix of a later version. */
#define MDC_CUDA_FUNCTIONS(F)                                                                                          \
    F(cuInit, cuInit, (unsigned flags))                                                                                \
    F(cuDriverGetVersion, cuDriverGetVersion, (int *version))                                                          \
    F(cuGetErrorName, cuGetErrorName, (CUresult error, const char **name))                                             \
    F(cuGetErrorString, cuGetErrorString, (CUresult error, const char **text))                                         \
    F(cuDeviceGetCount, cuDeviceGetCount, (int *count))                                                                \
    F(cuDeviceGet, cuDeviceGet, (CUdevice * device, int ordinal))                                                      \
    F(cuDeviceGetName, cuDeviceGetName, (char *name, int length, CUdevice device))                                     \
    F(cuDeviceGetAttribute, cuDeviceGetAttribute, (int *value, int attribute, CUdevice device))                        \
    F(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, (void **context, CUdevice device))                           \
    F(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                      \
    F(cuCtxPushCurrent, cuCtxPushCurrent_v2, (void *context))                                                          \
    F(cuCtxPopCurrent, cuCtxPopCurrent_v2, (void **context))                                                           \
    F(cuModuleLoadDataEx, cuModuleLoadDataEx,                                                                          \
      (void **module, const void *image, unsigned count, int *options, void **values))                                 \
    F(cuModuleUnload, cuModuleUnload, (void *module))                                                                  \
    F(cuModuleGetFunction, cuModuleGetFunction, (void **function, void *module, const char *name))                     \
    F(cuMemAlloc, cuMemAlloc_v2, (CUdeviceptr * pointer, size_t bytes))                                                \
    F(cuMemFree, cuMemFree_v2, (CUdeviceptr pointer))                                                                  \
    F(cuMemHostAlloc, cuMemHostAlloc, (void **pointer, size_t bytes, unsigned flags))                                  \
    F(cuMemFreeHost, cuMemFreeHost, (void *pointer))                                                                   \
    F(cuMemcpyHtoD, cuMemcpyHtoD_v2, (CUdeviceptr target, const void *source, size_t bytes))                           \
    F(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, (CUdeviceptr target, const void *source, size_t bytes, void *stream))   \
    F(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, (void *target, CUdeviceptr source, size_t bytes, void *stream))         \
    F(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2, (CUdeviceptr target, CUdeviceptr source, size_t bytes, void *stream))   \
    F(cuStreamCreate, cuStreamCreate, (void **stream, unsigned flags))                                                 \
    F(cuStreamDestroy, cuStreamDestroy_v2, (void *stream))                                                             \
    F(cuStreamSynchronize, cuStreamSynchronize, (void *stream))                                                        \
    F(cuStreamBeginCapture, cuStreamBeginCapture_v2, (void *stream, int mode))                                         \
    F(cuStreamEndCapture, cuStreamEndCapture, (void *stream, void **graph))                                            \
    F(cuGraphInstantiate, cuGraphInstantiateWithFlags, (void **executable, void *graph, unsigned long long flags))     \
    F(cuGraphLaunch, cuGraphLaunch, (void *executable, void *stream))                                                  \
    F(cuGraphExecDestroy, cuGraphExecDestroy, (void *executable))                                                      \
    F(cuGraphDestroy, cuGraphDestroy, (void *graph))                                                                   \
    F(cuEventCreate, cuEventCreate, (void **event, unsigned flags))                                                    \
    F(cuEventDestroy, cuEventDestroy_v2, (void *event))                                                                \
    F(cuEventRecord, cuEventRecord, (void *event, void *stream))                                                       \
    F(cuEventElapsedTime, cuEventElapsedTime, (float *milliseconds, void *start, void *stop))                          \
    F(cuLaunchKernel, cuLaunchKernel,                                                                                  \
      (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,          \
       unsigned block_z, unsigned shared_bytes, void *stream, void **parameters, void **extra))

#define MDC_CUDA_DECLARE(name, symbol, parameters) CUresult(*name) parameters;
struct mdc_cuda_driver {
    MDC_CUDA_FUNCTIONS(MDC_CUDA_DECLARE)
};
#undef MDC_CUDA_DECLARE

enum {
    MDC_CUDA_MAJOR = 75, /* CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR */
    MDC_CUDA_MINOR = 76,
    MDC_CUDA_ERROR_LOG = 5, /* CU_JIT_ERROR_LOG_BUFFER */
    MDC_CUDA_ERROR_LOG_BYTES = 6,
    MDC_CUDA_NON_BLOCKING = 1,        /* CU_STREAM_NON_BLOCKING */
    MDC_CUDA_CAPTURE_THREAD_LOCAL = 1 /* CU_STREAM_CAPTURE_MODE_THREAD_LOCAL */
};

/* The opened driver; NULL with a message when there is none, or it is too old. */
const struct mdc_cuda_driver *mdc_cuda_driver(void);

/* 0 when result is success; else keep what the driver says of it, and what to do, and return 1. */
int mdc_cuda_check(const char *what, CUresult result);

void mdc_cuda_forget_error(void);

#endif
