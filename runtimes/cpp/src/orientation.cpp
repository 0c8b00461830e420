#include "orientation.hpp"

#include <algorithm>

#include "images.hpp"

namespace hamsa {
namespace {

// Numbers in a TIFF structure; nothing past its end.
class Tiff {
  public:
    Tiff(const std::uint8_t* data, std::size_t size) : data_(data), size_(size), little_(size > 0 && data[0] == 'I') {}

    bool is_valid() const {
        return size_ >= 8 && data_[0] == data_[1] && (data_[0] == 'I' || data_[0] == 'M') && number(2, 2) == 42U;
    }

    std::optional<std::uint32_t> number(std::size_t at, std::size_t bytes) const {
        if (at > size_ || bytes > size_ - at) {
            return std::nullopt;
        }
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) {
            value = value << 8 | data_[at + (little_ ? bytes - 1 - i : i)];
        }
        return value;
    }

  private:
    const std::uint8_t* data_;
    std::size_t size_;
    bool little_;
};

constexpr std::uint32_t orientation_tag = 0x0112;
constexpr std::uint32_t short_type = 3, long_type = 4;
constexpr std::size_t entry_bytes = 12;

std::optional<int> turned(std::uint32_t value) {
    return value >= 1 && value <= 8 ? std::optional<int>(static_cast<int>(value)) : std::nullopt;
}

}  // namespace

std::optional<int> orientation_from_exif(const std::uint8_t* data, std::size_t size) {
    const Tiff tiff(data, size);
    const auto directory = tiff.is_valid() ? tiff.number(4, 4) : std::nullopt;
    const auto entries = directory ? tiff.number(*directory, 2) : std::nullopt;
    for (std::size_t i = 0; i < entries.value_or(0); ++i) {
        const std::size_t at = std::size_t{*directory} + 2 + i * entry_bytes;
        const std::uint32_t type = tiff.number(at + 2, 2).value_or(0);
        const bool is_number = type == short_type || type == long_type;
        if (is_number && tiff.number(at, 2) == orientation_tag && tiff.number(at + 4, 4) == 1U) {
            const auto value = tiff.number(at + 8, type == short_type ? 2 : 4);
            return value ? turned(*value) : std::nullopt;
        }
    }
    return std::nullopt;
}

std::optional<int> orientation_from_xmp(std::string_view document) {
    constexpr std::string_view name = "tiff:Orientation";
    for (std::size_t at = document.find(name); at != std::string_view::npos; at = document.find(name, at + 1)) {
        std::string_view rest = document.substr(at + name.size());
        const std::size_t sign = rest.rfind("=\"", 0) == 0 ? 2 : rest.rfind('>', 0) == 0 ? 1 : 0;
        if (sign != 0 && rest.size() > sign && rest[sign] >= '0' && rest[sign] <= '9') {
            return turned(static_cast<std::uint32_t>(rest[sign] - '0'));
        }
    }
    return std::nullopt;
}

Image upright(const Image& image, int orientation) {
    if (orientation < 2 || orientation > 8) {
        return image;
    }
    const bool swaps = orientation >= 5;
    const bool mirrored = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool flipped = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const std::int64_t height = swaps ? image.width() : image.height();
    const std::int64_t width = swaps ? image.height() : image.width();
    NewImage result(height, width, image.channels());
    for (std::int64_t y = 0; y < height; ++y) {
        std::uint8_t* to = result.row(y);
        for (std::int64_t x = 0; x < width; ++x) {
            std::int64_t column = swaps ? y : x;
            std::int64_t row = swaps ? x : y;
            column = mirrored ? image.width() - 1 - column : column;
            row = flipped ? image.height() - 1 - row : row;
            to = std::copy_n(image.row(row) + column * image.channels(), image.channels(), to);
        }
    }
    return result.image();
}

}  // namespace hamsa
