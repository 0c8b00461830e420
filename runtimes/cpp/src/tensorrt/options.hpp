// How a TensorRT plan was asked to be built: part of what it is found by. The Python runtime's tensorrt/options.py is
// the definition.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "manifest.hpp"

namespace hamsa::tensorrt {

struct BuildOptions {
    std::int64_t min_batch = 1, opt_batch = 1, max_batch = 8;
    std::optional<std::int64_t> workspace_mib;
    std::int64_t optimization_level = 3;
    bool version_compatible = false;
    std::string hardware_compatibility = "none";
    bool refit = false, strip_weights = false;
    std::vector<std::string> compute_capabilities;
};

// The options of a bundle; keys of other stages are left alone. InputError: a value that is not valid.
BuildOptions options_from_manifest(const Manifest& manifest);

}  // namespace hamsa::tensorrt
