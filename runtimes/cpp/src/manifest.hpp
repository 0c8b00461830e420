// manifest.json, schema version 1. manifest.schema.json is the definition, for both runtimes.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "hamsa/tensor.hpp"

namespace hamsa {

inline constexpr const char* manifest_name = "manifest.json";
inline constexpr const char* signature_name = "manifest.sig";
inline constexpr const char* own_files[] = {manifest_name, signature_name};  // they cannot list themselves
inline constexpr std::uint64_t schema_version = 1;

// How an image becomes the input: resize, centre crop, then (p / 255 - mean) / std per channel, in the graph or here.
struct Preprocessing {
    std::int64_t height = 0, width = 0, channels = 0;
    std::string resize;
    double crop_fraction = 1;
    bool stretched = false;  // to size / crop_fraction, or else scaled until it covers that
    std::vector<double> mean, std;
    bool normalised_in_graph = true;
};

// How a clip becomes an input: float32 samples in [-1, 1]. The shape of the input says how they lie: (samples),
// (batch, samples), (channels, samples) or (batch, channels, samples).
struct Audio {
    std::string input;
    std::int64_t sample_rate = 1, channels = 1;
};

// An axis of the inputs beside the batch that may have any size from `min` to `max`.
struct Axis {
    std::string name;
    std::int64_t min = 1;
    std::optional<std::int64_t> max;
};

// What the model keeps from one call to the next: the graph takes it as `input`, and gives what becomes of it as
// `output`. It starts as zeros, or as what the file `stored` holds, in row-major order and little-endian.
struct KeptState {
    std::string name;
    DType dtype = DType::float32;
    Shape shape;
    std::string input, output;
    std::optional<std::string> stored;
};

struct FileEntry {
    std::string sha256;
    std::uint64_t bytes = 0;
};

// The TensorRT plan of a bundle, or in `missing` why there is none. No GPU where plans are compiled on the device.
struct EngineBuild {
    std::string missing, module, version, system;
    std::optional<std::string> gpu, compute_capability;
};

// What running a bundle takes. Everything else in the file is checked and then left.
struct Manifest {
    std::string name;
    std::vector<TensorSpec> inputs, outputs;
    std::vector<KeptState> states;
    // Inputs and outputs with those of states, which an application does not see.
    std::vector<TensorSpec> graph_inputs, graph_outputs;
    std::vector<Axis> axes;
    std::optional<Preprocessing> preprocessing;
    std::optional<Audio> audio;
    std::optional<std::vector<std::string>> labels;
    // The last is that of all but the products in int8, where the file says so.
    std::string target, precision, around;
    std::map<std::string, FileEntry> files;
    // A JSON object of scalars: which ones there are is the target's business.
    std::string options;
    std::optional<EngineBuild> engine;
    // Whether the graph holds transforms as operators, which not every engine computes.
    bool has_native_transforms = false;
};

// The only way in. InputError says what was found where, and what was expected.
Manifest manifest_from_json(const std::string& data);
// The bytes of a manifest file; of one that is too large, as many as show that it is.
std::string manifest_bytes(const std::filesystem::path& path);

}  // namespace hamsa
