#include <algorithm>

#include "arrays.hpp"
#include "backends/backend.hpp"
#include "hamsa/error.hpp"
#include "names.hpp"

namespace hamsa {
namespace {

// `make` is null where the engine was not there when this library was built.
struct Row {
    const char* name;
    const char* option;
    std::vector<std::string> runs;
    MakeBackend make;
};

#if defined(HAMSA_WITH_OPENVINO)
constexpr MakeBackend openvino = make_openvino;
#else
constexpr MakeBackend openvino = nullptr;
#endif

#if defined(HAMSA_WITH_TENSORRT)
constexpr MakeBackend tensorrt = make_tensorrt;
#else
constexpr MakeBackend tensorrt = nullptr;
#endif

#if defined(HAMSA_WITH_TENSORRT_RTX)
constexpr MakeBackend tensorrt_rtx = make_tensorrt;
#else
constexpr MakeBackend tensorrt_rtx = nullptr;
#endif

// The first row that runs a target is its default.
const std::vector<Row>& rows() {
    static const std::vector<Row> table{
        {"tensorrt", "HAMSA_WITH_TENSORRT", {"tensorrt"}, tensorrt},
        {"tensorrt-rtx", "HAMSA_WITH_TENSORRT_RTX", {"tensorrt-rtx"}, tensorrt_rtx},
        {"openvino", "HAMSA_WITH_OPENVINO", {"onnx", "openvino"}, openvino},
    };
    return table;
}

bool runs(const Row& row, const std::string& target) {
    return std::find(row.runs.begin(), row.runs.end(), target) != row.runs.end();
}

std::vector<std::string> names_of(const std::vector<Row>& table) {
    std::vector<std::string> names;
    std::transform(table.begin(), table.end(), std::back_inserter(names), [](const Row& row) { return row.name; });
    std::sort(names.begin(), names.end());
    return names;
}

const Row& row_for(const std::string& target, const std::optional<std::string>& name) {
    std::vector<std::string> able;
    for (const Row& row : rows()) {
        if (runs(row, target) && (!name || row.name == *name)) {
            return row;
        }
        if (runs(row, target)) {
            able.emplace_back(row.name);
        }
    }
    if (able.empty()) {
        throw MissingError("no engine of this library runs bundles for " + repr(target), "a bundle for another target",
                           "", "run it with the Python runtime, or export with --to openvino or --to onnx");
    }
    const std::vector<std::string> names = names_of(rows());
    if (name && std::find(names.begin(), names.end(), *name) == names.end()) {
        throw InputError("unknown backend " + repr(*name), "one of " + joined(names), "", nearest(*name, names));
    }
    throw InputError("backend " + repr(name.value_or("")) + " does not run bundles for " + repr(target),
                     "one of " + joined(able));
}

}  // namespace

MakeBackend backend_for(const std::string& target, const std::optional<std::string>& name) {
    const Row& row = row_for(target, name);
    if (row.make == nullptr) {
        throw MissingError("the " + std::string(row.name) + " backend was not compiled into this library",
                           "a build with " + std::string(row.option) + "=ON",
                           "the engine was not found when the library was configured",
                           "cmake -D " + std::string(row.option) + "=ON, with the engine where CMake finds it");
    }
    return row.make;
}

void check_port_names(const char* kind, const std::vector<TensorSpec>& declared,
                      const std::vector<std::vector<std::string>>& found) {
    const auto has = [](const std::vector<std::string>& port, const std::string& name) {
        return std::find(port.begin(), port.end(), name) != port.end();
    };
    std::vector<std::string> names;
    std::vector<std::string> ports;
    for (const std::vector<std::string>& port : found) {
        ports.push_back(joined(port, "/"));
    }
    bool same = declared.size() == found.size();
    for (const TensorSpec& spec : declared) {
        names.push_back(spec.name);
        same = same && std::any_of(found.begin(), found.end(), [&](const auto& port) { return has(port, spec.name); });
    }
    if (!same) {
        throw BuildError("the model's " + std::string(kind) + " are " + joined(ports),
                         joined(names) + ", as the manifest says");
    }
}

void check_port(const TensorSpec& declared, const std::optional<DType>& dtype, const std::optional<Shape>& found) {
    const auto same_size = [](std::int64_t a, std::int64_t b) { return a == b || (a < 0 && b < 0); };
    const Shape& wanted = declared.shape;
    if (dtype == declared.dtype && found &&
        std::equal(found->begin(), found->end(), wanted.begin(), wanted.end(), same_size)) {
        return;
    }
    throw BuildError("the model's input " + repr(declared.name) + " is " +
                         (dtype ? name_of(*dtype) : "of another type") + " " +
                         (found ? shown(*found) : "of any shape"),
                     name_of(declared.dtype) + (" " + shown_shape(declared)) + ", as the manifest says",
                     "a manifest of another model, or one that was changed", "export the model again");
}

}  // namespace hamsa
