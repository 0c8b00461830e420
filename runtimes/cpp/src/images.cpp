#include "images.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "arrays.hpp"
#include "checked.hpp"
#include "hamsa/error.hpp"
#include "resample.hpp"

namespace hamsa {
namespace {

struct Size {
    std::int64_t width, height;
};

// The smallest size with the aspect of `size` that covers `box`.
Size covering(Size size, Size box) {
    if (size.width * box.height <= size.height * box.width) {
        return {box.width, std::max(box.height, box.width * size.height / size.width)};
    }
    return {std::max(box.width, box.height * size.width / size.height), box.height};
}

// To the nearest whole number, halves to the even one, as Python rounds; std::nearbyint depends on the rounding mode.
std::int64_t rounded(double value) {
    const double below = std::floor(value);
    const double rest = value - below;
    const bool up = rest > 0.5 || (rest == 0.5 && std::fmod(below, 2.0) != 0.0);
    return static_cast<std::int64_t>(up ? below + 1 : below);
}

std::string shown(Size size, const char* between) {
    return std::to_string(size.width) + between + std::to_string(size.height);
}

Size scaled_size(const Image& image, const Preprocessing& how) {
    const Size size{image.width(), image.height()};
    // Far above any image, and small enough for the products in `covering`.
    constexpr double limit = 1 << 30;
    const double width = static_cast<double>(how.width) / how.crop_fraction;
    const double height = static_cast<double>(how.height) / how.crop_fraction;
    const std::string name = "an image of " + shown(size, " x ") + ", scaled for this model,";
    if (width > limit || height > limit) {
        check_size(max_pixels, 2, name);
    }
    const Size box{rounded(width), rounded(height)};
    const Size scaled = how.stretched ? box : covering(size, box);
    check_size(scaled.width, scaled.height, name);
    return scaled;
}

// ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B, in units of 2^-16.
std::uint8_t grey_of(const std::uint8_t* rgb) {
    constexpr unsigned red = 19595, green = 38470, blue = 7471, half = 1U << 15;
    return static_cast<std::uint8_t>((rgb[0] * red + rgb[1] * green + rgb[2] * blue + half) >> 16);
}

}  // namespace

Image::Image(const std::uint8_t* data, std::int64_t height, std::int64_t width, std::int64_t channels,
             std::int64_t row_bytes, std::shared_ptr<const void> owner)
    : data_(data),
      height_(height),
      width_(width),
      channels_(channels),
      row_bytes_(row_bytes),
      owner_(std::move(owner)) {
    const std::string found =
        "an image of " + std::to_string(height) + " x " + std::to_string(width) + " x " + std::to_string(channels);
    if (data == nullptr || height < 1 || width < 1 || (channels != 1 && channels != 3)) {
        throw InputError(found + (data == nullptr ? " without memory" : ""), "height, width, and 1 or 3 channels");
    }
    const auto row = product(static_cast<std::size_t>(width), static_cast<std::size_t>(channels));
    const bool whole_rows = row && row_bytes >= 0 && (row_bytes == 0 || static_cast<std::size_t>(row_bytes) >= *row);
    if (!whole_rows) {
        throw InputError(found + " in rows of " + std::to_string(row_bytes) + " bytes", "rows that do not overlap");
    }
    row_bytes_ = row_bytes == 0 ? static_cast<std::int64_t>(*row) : row_bytes;
    if (!product(static_cast<std::size_t>(row_bytes_), static_cast<std::size_t>(height))) {
        throw InputError(found + ": more bytes than memory can hold", "an image that exists");
    }
}

void check_size(std::int64_t width, std::int64_t height, const std::string& name, std::int64_t most) {
    const auto pixels = product(static_cast<std::size_t>(width), static_cast<std::size_t>(height));
    if (!pixels || *pixels > static_cast<std::size_t>(most)) {
        throw InputError(name + ": too large to decode: " + shown(Size{width, height}, " x ") + " pixels",
                         "at most " + std::to_string(most) + " pixels",
                         "a decompression bomb, an extreme aspect ratio, or a panorama", "scale it down first");
    }
}

NewImage::NewImage(std::int64_t height, std::int64_t width, std::int64_t channels)
    : height_(height), width_(width), channels_(channels) {
    const NewTensor pixels(DType::uint8, {height, width, channels});
    const Tensor tensor = pixels.tensor();
    auto* data = static_cast<std::uint8_t*>(const_cast<void*>(tensor.data()));  // nobody else has it yet
    memory_ = std::shared_ptr<std::uint8_t>(data, [owner = tensor.owner()](std::uint8_t*) {});
}

Image with_channels(const Image& image, std::int64_t channels) {
    if (image.channels() == channels) {
        return image;
    }
    NewImage result(image.height(), image.width(), channels);
    for (std::int64_t y = 0; y < image.height(); ++y) {
        const std::uint8_t* from = image.row(y);
        std::uint8_t* to = result.row(y);
        for (std::int64_t x = 0; x < image.width(); ++x) {
            if (channels == 1) {
                to[x] = grey_of(from + 3 * x);
            } else {
                std::fill_n(to + 3 * x, 3, from[x]);
            }
        }
    }
    return result.image();
}

void resize_and_crop(const Image& image, const Preprocessing& how, std::uint8_t* pixels) {
    const Size size = scaled_size(image, how);
    const bool same = size.width == image.width() && size.height == image.height();
    const Image scaled = same ? image : resampled(image, size.height, size.width, filter_named(how.resize));
    const std::int64_t left = rounded(static_cast<double>(size.width - how.width) / 2);
    const std::int64_t top = rounded(static_cast<double>(size.height - how.height) / 2);
    const std::int64_t row = how.width * how.channels;
    for (std::int64_t y = 0; y < how.height; ++y) {
        std::copy_n(scaled.row(top + y) + left * how.channels, row, pixels + y * row);
    }
}

}  // namespace hamsa
