// Image files to pixels, one file per format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "hamsa/error.hpp"
#include "hamsa/image.hpp"

namespace hamsa {

struct EncodedImage {
    const std::uint8_t* data;
    std::size_t size;
    std::string name;  // for messages
};

InputError damaged(const EncodedImage& file, const std::string& why);
InputError truncated(const EncodedImage& file);

// As a file's header says it; InputError: none, or more than `max_pixels`.
void check_file_size(std::int64_t width, std::int64_t height, const EncodedImage& file);

// Of plain files (strip.hpp): pixels as they are stored.
Image decode_jpeg(const EncodedImage& file);
Image decode_png(const EncodedImage& file);

}  // namespace hamsa
