// Image files to pixels, one file per format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "hamsa/error.hpp"
#include "hamsa/image.hpp"
#include "images.hpp"

namespace hamsa {

struct EncodedImage {
    const std::uint8_t* data;
    std::size_t size;
    std::string name;  // for messages
};

InputError damaged(const EncodedImage& file, const std::string& why);
InputError truncated(const EncodedImage& file);
// A kind that is not read, though the file may be whole.
InputError not_read(const EncodedImage& file, const std::string& what, const std::string& expected);

// As a file's header says it; InputError: none, or more than `most`.
void check_file_size(std::int64_t width, std::int64_t height, const EncodedImage& file, std::int64_t most = max_pixels);

// Of plain files (strip.hpp): pixels as they are stored.
Image decode_jpeg(const EncodedImage& file);
Image decode_png(const EncodedImage& file);
Image decode_webp(const EncodedImage& file);

// Of any file that begins with "BM".
Image decode_bmp(const EncodedImage& file);

}  // namespace hamsa
