// Sound.
#pragma once

#include <cstdint>
#include <filesystem>

#include "hamsa/export.hpp"
#include "hamsa/tensor.hpp"

namespace hamsa {

struct Clip {
    // float32 (channels, samples), in [-1, 1] but for files of floats, which may be louder.
    Tensor samples;
    // Samples of each channel in a second.
    std::int64_t sample_rate;
};

// Decodes a WAV file (PCM of 8, 16, 24 or 32 bits, floats of 32 or 64), or, where the library was built with libsndfile,
// a FLAC file. InputError: no such file, another format, damaged, without samples, above 67,108,864 samples (found in
// the header, before anything is decoded), or not finite. MissingError: FLAC in a library without it.
HAMSA_API Clip load_clip(const std::filesystem::path& path);

}  // namespace hamsa
