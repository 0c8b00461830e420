// The engines that can run a bundle: one file each, one row each in table.cpp.
//
// Adding one: a file with a function that makes a Backend, a row in the table, and in CMakeLists.txt the file and the
// definition that switches the row on.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bundle.hpp"
#include "hamsa/engine.hpp"

namespace hamsa {

// Smallest and largest batch that one inference takes, where it is dynamic.
using BatchLimits = std::optional<std::pair<std::size_t, std::size_t>>;

// One loaded model. Its destructor frees the engine's memory.
class Backend {
  public:
    virtual ~Backend() = default;

    // Whether several threads may call `infer` at once; if not, Engine serialises them.
    virtual bool parallel() const { return false; }
    virtual BatchLimits batch_limits() const { return std::nullopt; }

    // Runs inputs that fit the manifest. What is returned owns its memory.
    virtual Tensors infer(const Tensors& inputs) = 0;

    // What runs: backend, version, device, precision.
    virtual std::map<std::string, std::string> describe() const = 0;
};

// What a backend is made from. It may keep the manifest, and of the files what it needs.
struct Model {
    std::filesystem::path folder;
    Manifest manifest;
    VerifiedFiles files;
    Options options;
};

using MakeBackend = std::unique_ptr<Backend> (*)(Model model);

// What makes the backend called `name`, or the default one of a target.
// InputError: no backend has that name, or it does not run this target. MissingError: it was not compiled in.
MakeBackend backend_for(const std::string& target, const std::optional<std::string>& name);

// Compares the manifest's inputs or outputs with a loaded model's ports (each may have several names).
// BuildError: they are not the same.
void check_port_names(const char* kind, const std::vector<TensorSpec>& declared,
                      const std::vector<std::vector<std::string>>& found);

// The same for one input's type and shape, in which any negative size is free; none where the model does not say.
// Before anything of the manifest's sizes is allocated. BuildError: they are not the same.
void check_port(const TensorSpec& declared, const std::optional<DType>& dtype, const std::optional<Shape>& found);

#if defined(HAMSA_WITH_OPENVINO)
std::unique_ptr<Backend> make_openvino(Model model);
#endif

#if defined(HAMSA_WITH_TENSORRT) || defined(HAMSA_WITH_TENSORRT_RTX)
std::unique_ptr<Backend> make_tensorrt(Model model);
#endif

}  // namespace hamsa
