/* The C interface, from C11. Arguments: the tiny bundle, the signed one, and the public key of the latter. */
#include <hamsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

static const uint8_t pixels[2 * 8 * 12 * 3];
static const int64_t shape[4] = {2, 8, 12, 3};

static void check_error(int code, hamsa_error* error, int expected, const char* kind, const char* part) {
    CHECK(code == expected);
    CHECK(error != NULL);
    CHECK(hamsa_error_exit_code(error) == expected);
    CHECK(strcmp(hamsa_error_kind(error), kind) == 0);
    CHECK(strstr(hamsa_error_message(error), part) != NULL);
    hamsa_error_free(error);
}

static void test_metadata(const hamsa_engine* engine) {
    hamsa_tensor port;
    CHECK(strcmp(hamsa_engine_name(engine), "tiny") == 0);
    CHECK(hamsa_engine_label_count(engine) == 4);
    CHECK(strcmp(hamsa_engine_label(engine, 3), "dog") == 0);
    CHECK(hamsa_engine_label(engine, 4) == NULL);
    CHECK(hamsa_engine_input(engine, 0, &port) == 0);
    CHECK(strcmp(port.name, "image") == 0 && port.dtype == HAMSA_UINT8 && port.rank == 4 && port.shape[0] == -1);
    CHECK(hamsa_engine_input(engine, 1, &port) == 2);
    CHECK(hamsa_engine_output(engine, 1, &port) == 0);
    CHECK(strcmp(port.name, "logits") == 0 && port.dtype == HAMSA_FLOAT32 && port.shape[1] == 4);
}

static void test_inference(const hamsa_engine* engine) {
    hamsa_tensor input = {NULL, HAMSA_UINT8, 4, shape, pixels, sizeof pixels};
    hamsa_outputs* outputs = NULL;
    hamsa_error* error = NULL;
    hamsa_tensor output;
    CHECK(hamsa_engine_infer(engine, &input, 1, &outputs, &error) == 0);
    CHECK(error == NULL);
    CHECK(hamsa_outputs_count(outputs) == 2);
    CHECK(hamsa_outputs_get(outputs, 1, &output) == 0);
    CHECK(strcmp(output.name, "logits") == 0 && output.rank == 2 && output.shape[0] == 2 && output.bytes == 32);
    const float* values = output.data;
    CHECK(memcmp(values, values + 4, 16) == 0); /* two black images */
    CHECK(hamsa_outputs_get(outputs, 2, &output) == 2);
    hamsa_outputs_free(outputs);
}

static void test_bad_input(const hamsa_engine* engine) {
    hamsa_outputs* outputs = NULL;
    hamsa_error* error = NULL;
    int64_t huge[4] = {INT64_MAX, INT64_MAX, INT64_MAX, 3};
    hamsa_tensor input = {NULL, HAMSA_UINT8, 4, shape, pixels, sizeof pixels - 1};
    int code = hamsa_engine_infer(engine, &input, 1, &outputs, &error);
    check_error(code, error, 2, "InputError", "575 elements");
    input.shape = huge;
    code = hamsa_engine_infer(engine, &input, 1, &outputs, &error);
    check_error(code, error, 2, "InputError", "more bytes than memory");
    input.shape = NULL;
    code = hamsa_engine_infer(engine, &input, 1, &outputs, &error);
    check_error(code, error, 2, "InputError", "shape is NULL");
    code = hamsa_engine_infer_file(engine, "no such.jpg", &outputs, &error);
    check_error(code, error, 2, "InputError", "no such image file");
    code = hamsa_engine_infer(NULL, &input, 1, &outputs, &error);
    CHECK(code == 2);
    hamsa_error_free(error);
    CHECK(outputs == NULL);
    CHECK(hamsa_engine_infer_file(engine, "no such.jpg", &outputs, NULL) == 2); /* nobody wants to know why */
}

static void test_signatures(const char* tiny, const char* is_signed, const char* public_key) {
    hamsa_engine* engine = NULL;
    hamsa_error* error = NULL;
    hamsa_options options = {NULL, NULL, 1, public_key};
    CHECK(hamsa_engine_load(is_signed, &options, &engine, &error) == 0);
    hamsa_engine_free(engine);
    int code = hamsa_engine_load(tiny, &options, &engine, &error);
    CHECK(engine == NULL);
    check_error(code, error, 2, "InputError", "not signed");
    options.public_key = "no such key.pem";
    code = hamsa_engine_load(is_signed, &options, &engine, &error);
    check_error(code, error, 2, "InputError", "no such file");
}

int main(int count, char** arguments) {
    hamsa_engine* engine = NULL;
    hamsa_error* error = NULL;
    hamsa_options options = {NULL, NULL, 1, NULL};
    CHECK(count == 4);
    CHECK(hamsa_engine_load(arguments[1], &options, &engine, &error) == 0);
    test_metadata(engine);
    test_inference(engine);
    test_bad_input(engine);
    hamsa_engine_free(engine);
    hamsa_engine_free(NULL);
    int code = hamsa_engine_load("/no/such/folder", NULL, &engine, &error);
    CHECK(engine == NULL);
    check_error(code, error, 2, "InputError", "no such folder");
    options.backend = "onnx";
    code = hamsa_engine_load(arguments[1], &options, &engine, &error);
    check_error(code, error, 2, "InputError", "unknown backend 'onnx'");
    code = hamsa_engine_load(NULL, NULL, &engine, &error);
    check_error(code, error, 2, "InputError", "folder is NULL");
    test_signatures(arguments[1], arguments[2], arguments[3]);
    return 0;
}
