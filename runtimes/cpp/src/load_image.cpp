#include <algorithm>
#include <fstream>
#include <system_error>
#include <vector>

#include "decode.hpp"
#include "hamsa/error.hpp"
#include "hamsa/image.hpp"
#include "images.hpp"
#include "orientation.hpp"

namespace hamsa {
namespace {

constexpr const char* formats = "JPEG, PNG";

bool starts_with(const std::vector<std::uint8_t>& data, std::initializer_list<std::uint8_t> start, std::size_t at = 0) {
    return data.size() >= at + start.size() &&
           std::equal(start.begin(), start.end(), data.begin() + static_cast<std::ptrdiff_t>(at));
}

std::vector<std::uint8_t> read(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary | std::ios::ate);
    const std::streamoff size = stream.tellg();
    std::vector<std::uint8_t> data(size > 0 ? static_cast<std::size_t>(size) : 0);
    stream.seekg(0);
    stream.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()));
    if (!stream || size < 0) {
        throw InputError(path.string() + ": the image is damaged (cannot be read)", "a whole image file");
    }
    return data;
}

InputError unknown_format(const std::string& name, const std::vector<std::uint8_t>& data) {
    const bool bmp = starts_with(data, {'B', 'M'});
    if (bmp || (starts_with(data, {'R', 'I', 'F', 'F'}) && starts_with(data, {'W', 'E', 'B', 'P'}, 8))) {
        return InputError(
            name + ": a " + (bmp ? "BMP" : "WebP") + " image, which the C++ runtime does not decode",
            std::string("one of ") + formats, "",
            "convert it to PNG, or decode it yourself and pass the pixels: hamsa::Image(data, height, width, 3)");
    }
    return InputError(name + ": not an image in a known format", std::string("one of ") + formats,
                      "another format behind this name, or an empty or damaged file");
}

DecodedImage decoded(const std::vector<std::uint8_t>& data, const std::string& name) {
    const EncodedImage file{data.data(), data.size(), name};
    if (starts_with(data, {0xFF, 0xD8, 0xFF})) {
        return decode_jpeg(file);
    }
    if (starts_with(data, {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'})) {
        return decode_png(file);
    }
    throw unknown_format(name, data);
}

}  // namespace

Image load_image(const std::filesystem::path& path) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored)) {
        throw InputError(path.string() + ": no such image file", std::string("a file in ") + formats);
    }
    const DecodedImage found = decoded(read(path), path.string());
    return upright(found.image, found.orientation);
}

}  // namespace hamsa
