// The plan of a bundle: the one that lies in it, if this TensorRT on this GPU has built it, or else the one that
// hamsa-build has put into the cache of this device. The Python runtime's tensorrt/engine_files.py and cache.py are the
// definition; nothing here needs TensorRT.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bundle.hpp"

namespace hamsa::tensorrt {

// What would run a plan.
struct Machine {
    std::string module;  // of Python: "tensorrt" or "tensorrt_rtx"
    // The same version as Python may call it: "10.3.0" on a Jetson, "10.3.0.26" from pip. The first is shown.
    std::vector<std::string> versions;
    // None where plans are compiled on the device: they are built for no GPU in particular.
    std::optional<std::string> gpu, compute_capability;
    std::string system;  // "Linux aarch64"
};

// "Linux x86_64", as Python's platform module says it.
std::string this_system();

// Under which name the cache keeps the plan of a bundle, for one spelling of the version: 64 hexadecimal digits.
std::string key_of(const Manifest& manifest, const Machine& machine, const std::string& version);

// A plan that may be loaded here; from the cache, its hash is checked. BuildError: there is none, with what the
// bundle's plan was built for, and what is here.
VerifiedFile plan_for(const Manifest& manifest, const VerifiedFiles& files, const Machine& machine);

}  // namespace hamsa::tensorrt
