// JPEG, PNG and WebP files to plain ones: what the decoders see. The rule is said in the Python runtime's image_files.py
// and webp.py.
#pragma once

#include <cstdint>
#include <vector>

#include "decode.hpp"
#include "orientation.hpp"

namespace hamsa {

// Chunks or segments of a file.
inline constexpr int max_parts = 1 << 16;

// A plain file with the same pixels, and what is said of its orientation.
struct Stripped {
    std::vector<std::uint8_t> data;
    Metadata metadata;
};

// InputError: refused, or too many pixels.
Stripped strip_jpeg(const EncodedImage& file);
Stripped strip_png(const EncodedImage& file);
Stripped strip_webp(const EncodedImage& file);

}  // namespace hamsa
