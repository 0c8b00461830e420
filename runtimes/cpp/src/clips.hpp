// Clips from inside: what a file says of itself, and what a manifest asks for.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "arrays.hpp"
#include "hamsa/clip.hpp"
#include "hamsa/error.hpp"
#include "manifest.hpp"

namespace hamsa {

// 67 million samples, 268 MB decoded: the limit of the Python runtime.
inline constexpr std::int64_t max_samples = std::int64_t{1} << 26;
// Of all channels together, decoded at a time.
inline constexpr std::int64_t samples_at_a_time = 1 << 16;

struct ClipHeader {
    std::int64_t sample_rate = 0, channels = 0, frames = 0;
    std::int64_t frames_at_a_time() const { return std::max<std::int64_t>(1, samples_at_a_time / channels); }
};

InputError damaged_clip(const std::filesystem::path& path, const std::string& found);

// What a manifest asks for, if one does, and what every clip has to be.
void check_header(const ClipHeader& header, const Audio* how, const std::filesystem::path& path);

// (frames, channels), interleaved, to their place in (channels, samples).
void write_frames(const float* frames, std::int64_t count, std::int64_t start, const ClipHeader& header, float* out);

Clip decode_wav(const std::filesystem::path& path, const Audio* how);
Clip decode_flac(const std::filesystem::path& path, const Audio* how);

// As `load_clip`, of the kind that a manifest names.
Clip load_clip(const std::filesystem::path& path, const Audio* how);

// A clip's file as the input of a model that takes clips. InputError: it is of another kind or length.
Tensor input_from_clip(const std::filesystem::path& path, const Manifest& manifest);

}  // namespace hamsa
