// Image files to pixels, one file per format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "hamsa/image.hpp"

namespace hamsa {

struct EncodedImage {
    const std::uint8_t* data;
    std::size_t size;
    std::string name;  // for messages
};

// Pixels as they are stored, and how the camera was turned (EXIF, 1 to 8).
struct DecodedImage {
    Image image;
    int orientation;
};

DecodedImage decode_jpeg(const EncodedImage& file);
DecodedImage decode_png(const EncodedImage& file);

}  // namespace hamsa
