#include <algorithm>
#include <fstream>
#include <system_error>
#include <vector>

#include "decode.hpp"
#include "hamsa/error.hpp"
#include "hamsa/image.hpp"
#include "images.hpp"
#include "orientation.hpp"
#include "strip.hpp"

namespace hamsa {
namespace {

constexpr const char* formats = "JPEG, PNG, BMP, WEBP";

// Read whole: as much as `max_pixels` in colour, not compressed at all.
constexpr std::int64_t max_file_bytes = 3 * max_pixels;

bool starts_with(const std::vector<std::uint8_t>& data, std::initializer_list<std::uint8_t> start, std::size_t at = 0) {
    return data.size() >= at + start.size() &&
           std::equal(start.begin(), start.end(), data.begin() + static_cast<std::ptrdiff_t>(at));
}

std::vector<std::uint8_t> read(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary | std::ios::ate);
    const std::streamoff size = stream.tellg();
    if (size > max_file_bytes) {
        throw InputError(path.string() + ": an image file of " + std::to_string(size) + " bytes",
                         "at most " + std::to_string(max_file_bytes));
    }
    std::vector<std::uint8_t> data(size > 0 ? static_cast<std::size_t>(size) : 0);
    stream.seekg(0);
    stream.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()));
    if (!stream || size < 0) {
        throw InputError(path.string() + ": the image is damaged (cannot be read)", "a whole image file");
    }
    return data;
}

bool is_jpeg(const std::vector<std::uint8_t>& data) { return starts_with(data, {0xFF, 0xD8, 0xFF}); }
bool is_webp(const std::vector<std::uint8_t>& data) {
    return starts_with(data, {'R', 'I', 'F', 'F'}) && starts_with(data, {'W', 'E', 'B', 'P'}, 8);
}

Stripped stripped(const std::vector<std::uint8_t>& data, const std::string& name) {
    const EncodedImage file{data.data(), data.size(), name};
    if (is_jpeg(data)) {
        return strip_jpeg(file);
    }
    if (starts_with(data, {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'})) {
        return strip_png(file);
    }
    if (is_webp(data)) {
        return strip_webp(file);
    }
    throw InputError(name + ": not an image in a known format", std::string("one of ") + formats,
                     "another format behind this name, or an empty or damaged file");
}

Image decoded(const std::vector<std::uint8_t>& plain, const std::string& name) {
    const EncodedImage file{plain.data(), plain.size(), name};
    return is_jpeg(plain) ? decode_jpeg(file) : is_webp(plain) ? decode_webp(file) : decode_png(file);
}

}  // namespace

InputError damaged(const EncodedImage& file, const std::string& why) {
    return InputError(file.name + ": the image is damaged (" + why + ")", "a whole image file");
}

InputError truncated(const EncodedImage& file) { return damaged(file, "image file is truncated"); }

InputError not_read(const EncodedImage& file, const std::string& what, const std::string& expected) {
    return InputError(file.name + ": " + what, expected, "", "convert it to PNG");
}

void check_file_size(std::int64_t width, std::int64_t height, const EncodedImage& file, std::int64_t most) {
    if (width < 1 || height < 1 || width > INT32_MAX || height > INT32_MAX) {
        throw damaged(file, std::to_string(width) + " x " + std::to_string(height) + " pixels");
    }
    check_size(width, height, file.name, most);
}

Image load_image(const std::filesystem::path& path) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored)) {
        throw InputError(path.string() + ": no such image file", std::string("a file in ") + formats);
    }
    std::vector<std::uint8_t> data = read(path);
    if (starts_with(data, {'B', 'M'})) {
        return decode_bmp({data.data(), data.size(), path.string()});
    }
    Stripped plain = stripped(data, path.string());
    data = {};
    const Image image = decoded(plain.data, path.string());
    plain.data = {};
    return upright(image, orientation_of(plain.metadata));
}

}  // namespace hamsa
