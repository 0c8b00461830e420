// What a device is called: one grammar for all engines, in each engine's own words.
//
//     device = name | "AUTO" | ("AUTO" | "HETERO") ":" name {"," name}
//     name   = kind [("." | ":") which]
//
// Case does not count, and a colon is a dot: "cuda:0" is CUDA.0. The Python runtime's devices.py is the same, with more
// about it.
#pragma once

#include <string>
#include <vector>

namespace hamsa {

// One device: GPU, or GPU.1.
struct DeviceName {
    std::string kind, which;

    std::string text() const { return which.empty() ? kind : kind + "." + which; }
    bool operator==(const DeviceName& other) const { return kind == other.kind && which == other.which; }
};

// One name; or several, of which AUTO takes one for the whole model, and HETERO the first that can for each node.
struct Device {
    enum class Choice { none, any, split };

    Choice choice = Choice::none;
    // In order of preference; with AUTO there may be none, for all that there are.
    std::vector<DeviceName> names;

    std::string text() const;
};

// InputError: it is no name.
Device device_from(const std::string& text);

// The name, for an engine that runs a model on one device. InputError: it is none, or more than one.
DeviceName only_name(const std::string& text, const std::string& engine);

}  // namespace hamsa
