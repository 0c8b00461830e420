// The C interface: nothing but translation. No exception leaves it.
#include "hamsa.h"

#include <iterator>
#include <new>
#include <utility>

#include "arrays.hpp"
#include "hamsa/engine.hpp"

struct hamsa_engine {
    hamsa::Engine engine;
};

struct hamsa_error {
    std::string kind, message;
    int exit_code;
};

struct hamsa_outputs {
    hamsa::Tensors tensors;
};

namespace {

constexpr int internal_error = 1;
constexpr int input_error = 2;

int set_error(hamsa_error** error, const char* kind, const char* message, int exit_code) noexcept {
    if (error != nullptr) {
        try {
            *error = new hamsa_error{kind, message, exit_code};
        } catch (const std::bad_alloc&) {
            *error = nullptr;
        }
    }
    return exit_code;
}

template <typename Body>
int guarded(hamsa_error** error, Body body) noexcept {
    if (error != nullptr) {
        *error = nullptr;
    }
    try {
        body();
        return 0;
    } catch (const hamsa::Error& caught) {
        return set_error(error, caught.kind(), caught.what(), caught.exit_code());
    } catch (const std::exception& caught) {
        return set_error(error, "Error", caught.what(), internal_error);
    } catch (...) {
        return set_error(error, "Error", "unknown", internal_error);
    }
}

void check_not_null(const void* pointer, const char* name) {
    if (pointer == nullptr) {
        throw hamsa::InputError(std::string(name) + " is NULL", "a pointer");
    }
}

hamsa::Tensor tensor_of(const hamsa_tensor& given) {
    if (given.dtype < HAMSA_BOOL || given.dtype > HAMSA_FLOAT64) {
        throw hamsa::InputError("the dtype is " + std::to_string(static_cast<int>(given.dtype)), "one of hamsa_dtype");
    }
    if (given.rank != 0) {
        check_not_null(given.shape, "shape");
    }
    const auto dtype = static_cast<hamsa::DType>(given.dtype);
    const std::size_t size = hamsa::size_of(dtype);
    if (given.bytes % size != 0) {
        throw hamsa::InputError(std::to_string(given.bytes) + " bytes of " + hamsa::name_of(dtype), "whole elements");
    }
    return hamsa::Tensor(dtype, hamsa::Shape(given.shape, given.shape + given.rank), given.data, given.bytes / size);
}

hamsa::Input input_of(const hamsa_tensor* inputs, std::size_t count) {
    check_not_null(inputs, "inputs");
    if (count == 1 && inputs[0].name == nullptr) {
        return tensor_of(inputs[0]);
    }
    hamsa::Tensors tensors;
    for (std::size_t i = 0; i < count; ++i) {
        check_not_null(inputs[i].name, "the name of an input");
        tensors.emplace(inputs[i].name, tensor_of(inputs[i]));
    }
    return tensors;
}

int describe(const std::vector<hamsa::TensorSpec>& specs, std::size_t index, hamsa_tensor* out) {
    if (out == nullptr || index >= specs.size()) {
        return input_error;
    }
    const hamsa::TensorSpec& spec = specs[index];
    *out = {spec.name.c_str(), static_cast<hamsa_dtype>(spec.dtype), spec.shape.size(), spec.shape.data(), nullptr, 0};
    return 0;
}

int run(const hamsa_engine* engine, hamsa_outputs** outputs, hamsa_error** error, const hamsa::Input& input) {
    return guarded(error, [&] {
        check_not_null(engine, "engine");
        check_not_null(outputs, "outputs");
        *outputs = nullptr;
        *outputs = new hamsa_outputs{engine->engine.infer(input)};
    });
}

}  // namespace

static_assert(static_cast<int>(hamsa::DType::boolean) == HAMSA_BOOL &&
              static_cast<int>(hamsa::DType::float64) == HAMSA_FLOAT64);

int hamsa_engine_load(const char* folder, const hamsa_options* options, hamsa_engine** engine, hamsa_error** error) {
    return guarded(error, [&] {
        check_not_null(folder, "folder");
        check_not_null(engine, "engine");
        *engine = nullptr;
        hamsa::Options chosen;
        if (options != nullptr) {
            chosen.backend = options->backend == nullptr ? std::nullopt : std::optional<std::string>(options->backend);
            chosen.device = options->device == nullptr ? std::nullopt : std::optional<std::string>(options->device);
            chosen.threads = options->threads == 0 ? std::nullopt : std::optional<int>(options->threads);
            if (options->public_key != nullptr) {
                chosen.public_key = std::filesystem::u8path(options->public_key);
            }
        }
        *engine = new hamsa_engine{hamsa::Engine::load(std::filesystem::u8path(folder), chosen)};
    });
}

void hamsa_engine_free(hamsa_engine* engine) { delete engine; }

int hamsa_engine_infer(const hamsa_engine* engine, const hamsa_tensor* inputs, size_t count, hamsa_outputs** outputs,
                       hamsa_error** error) {
    hamsa::Input input;
    const int code = guarded(error, [&] { input = input_of(inputs, count); });
    return code != 0 ? code : run(engine, outputs, error, input);
}

int hamsa_engine_infer_file(const hamsa_engine* engine, const char* file, hamsa_outputs** outputs,
                            hamsa_error** error) {
    hamsa::Input input;
    const int code = guarded(error, [&] {
        check_not_null(file, "file");
        input = std::filesystem::u8path(file);
    });
    return code != 0 ? code : run(engine, outputs, error, input);
}

int hamsa_engine_reset(hamsa_engine* engine, hamsa_error** error) {
    return guarded(error, [&] {
        check_not_null(engine, "engine");
        engine->engine.reset();
    });
}

const char* hamsa_engine_name(const hamsa_engine* engine) { return engine->engine.name().c_str(); }

size_t hamsa_engine_label_count(const hamsa_engine* engine) { return engine->engine.labels().size(); }

const char* hamsa_engine_label(const hamsa_engine* engine, size_t index) {
    const auto& labels = engine->engine.labels();
    return index < labels.size() ? labels[index].c_str() : nullptr;
}

int hamsa_engine_input(const hamsa_engine* engine, size_t index, hamsa_tensor* input) {
    return describe(engine->engine.inputs(), index, input);
}

int hamsa_engine_output(const hamsa_engine* engine, size_t index, hamsa_tensor* output) {
    return describe(engine->engine.outputs(), index, output);
}

size_t hamsa_outputs_count(const hamsa_outputs* outputs) { return outputs->tensors.size(); }

int hamsa_outputs_get(const hamsa_outputs* outputs, size_t index, hamsa_tensor* output) {
    if (output == nullptr || index >= outputs->tensors.size()) {
        return input_error;
    }
    const auto found = std::next(outputs->tensors.begin(), static_cast<std::ptrdiff_t>(index));
    const hamsa::Tensor& tensor = found->second;
    *output = {found->first.c_str(),  static_cast<hamsa_dtype>(tensor.dtype()),
               tensor.shape().size(), tensor.shape().data(),
               tensor.data(),         tensor.bytes()};
    return 0;
}

void hamsa_outputs_free(hamsa_outputs* outputs) { delete outputs; }

const char* hamsa_error_kind(const hamsa_error* error) { return error->kind.c_str(); }
const char* hamsa_error_message(const hamsa_error* error) { return error->message.c_str(); }
int hamsa_error_exit_code(const hamsa_error* error) { return error->exit_code; }
void hamsa_error_free(hamsa_error* error) { delete error; }
