/* The C interface of hamsa_runtime, for C and for languages that call it. C11.
 *
 * A function that can fail returns 0 for success and the exit code of its error otherwise (2 input, 4 something
 * missing, 5 the engine failed, 1 anything else), and then sets *error, if error is not NULL; the caller frees it.
 * Nothing is global: any number of threads may use one engine, each with its own error. Texts are UTF-8.
 */
#ifndef HAMSA_H
#define HAMSA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HAMSA_C_API __attribute__((visibility("default")))
#else
#define HAMSA_C_API
#endif

typedef struct hamsa_engine hamsa_engine;
typedef struct hamsa_error hamsa_error;
typedef struct hamsa_outputs hamsa_outputs;

typedef enum hamsa_dtype {
    HAMSA_BOOL,
    HAMSA_UINT8,
    HAMSA_INT8,
    HAMSA_INT32,
    HAMSA_INT64,
    HAMSA_FLOAT16,
    HAMSA_FLOAT32,
    HAMSA_FLOAT64
} hamsa_dtype;

/* How to load a bundle, see hamsa::Options. NULL and 0 stand for the default. */
typedef struct hamsa_options {
    const char* backend;
    const char* device;
    int threads;
    /* The path of a PEM file: refuse a bundle that hamsa-sign has not signed with the key that belongs to it. */
    const char* public_key;
} hamsa_options;

/* A dense array in row-major order. `name` is that of a model's input or output; for the only input of a model it may
 * be NULL. `bytes` is the size of `data`, which is checked against dtype and shape. */
typedef struct hamsa_tensor {
    const char* name;
    hamsa_dtype dtype;
    size_t rank;
    const int64_t* shape;
    const void* data;
    size_t bytes;
} hamsa_tensor;

/* Checks a bundle's files and loads it. `options` may be NULL. */
HAMSA_C_API int hamsa_engine_load(const char* folder, const hamsa_options* options, hamsa_engine** engine,
                                  hamsa_error** error);
/* Frees an engine, after the inferences that run; NULL is allowed. No other call may use it any more. */
HAMSA_C_API void hamsa_engine_free(hamsa_engine* engine);

/* Runs tensors: pixels or normalised floats, or the inputs of any other model; see hamsa::Input. */
HAMSA_C_API int hamsa_engine_infer(const hamsa_engine* engine, const hamsa_tensor* inputs, size_t count,
                                   hamsa_outputs** outputs, hamsa_error** error);
/* Runs one JPEG or PNG file, or, for a model of clips, one WAV or FLAC file. */
HAMSA_C_API int hamsa_engine_infer_file(const hamsa_engine* engine, const char* file, hamsa_outputs** outputs,
                                        hamsa_error** error);

/* Starts a new stream: what the model keeps between calls is again as it was when it was exported. */
HAMSA_C_API int hamsa_engine_reset(hamsa_engine* engine, hamsa_error** error);

/* What an engine runs; the texts live as long as the engine. NULL past the end. */
HAMSA_C_API const char* hamsa_engine_name(const hamsa_engine* engine);
HAMSA_C_API size_t hamsa_engine_label_count(const hamsa_engine* engine);
HAMSA_C_API const char* hamsa_engine_label(const hamsa_engine* engine, size_t index);
/* Inputs and outputs as the bundle declares them: `data` is NULL, `bytes` 0, and in `shape` -1 any number of
 * images, -2 a size that follows from another axis. 0 for success, 2 past the end. */
HAMSA_C_API int hamsa_engine_input(const hamsa_engine* engine, size_t index, hamsa_tensor* input);
HAMSA_C_API int hamsa_engine_output(const hamsa_engine* engine, size_t index, hamsa_tensor* output);

/* The results of one inference; the memory that `output` points to lives as long as `outputs`. */
HAMSA_C_API size_t hamsa_outputs_count(const hamsa_outputs* outputs);
HAMSA_C_API int hamsa_outputs_get(const hamsa_outputs* outputs, size_t index, hamsa_tensor* output);
HAMSA_C_API void hamsa_outputs_free(hamsa_outputs* outputs);

/* "InputError", "MissingError", "BuildError", "EngineClosedError" or "Error". */
HAMSA_C_API const char* hamsa_error_kind(const hamsa_error* error);
HAMSA_C_API const char* hamsa_error_message(const hamsa_error* error);
HAMSA_C_API int hamsa_error_exit_code(const hamsa_error* error);
HAMSA_C_API void hamsa_error_free(hamsa_error* error);

#ifdef __cplusplus
}
#endif

#endif
