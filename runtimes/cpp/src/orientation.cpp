#include "orientation.hpp"

#include <algorithm>
#include <string_view>

#include "images.hpp"

namespace hamsa {
namespace {

using namespace std::string_view_literals;

// Numbers in a TIFF structure; nothing past its end.
class Tiff {
  public:
    explicit Tiff(std::string_view data) : data_(data), little_(data.substr(0, 1) == "I") {}

    bool is_valid() const { return data_.substr(0, 4) == "II*\0"sv || data_.substr(0, 4) == "MM\0*"sv; }

    std::optional<std::uint32_t> number(std::size_t at, std::size_t bytes) const {
        if (at > data_.size() || bytes > data_.size() - at) {
            return std::nullopt;
        }
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) {
            value = value << 8 | static_cast<std::uint8_t>(data_[at + (little_ ? bytes - 1 - i : i)]);
        }
        return value;
    }

  private:
    std::string_view data_;
    bool little_;
};

constexpr std::uint32_t orientation_tag = 0x0112;
constexpr std::size_t entry_bytes = 12;

// Of one number of a whole type; 0 for others. Where they have signs, the negative ones are far above 8.
std::size_t bytes_of_type(std::uint32_t type) {
    switch (type) {
        case 1:  // BYTE
        case 6:  // SBYTE
            return 1;
        case 3:  // SHORT
        case 8:  // SSHORT
            return 2;
        case 4:   // LONG
        case 9:   // SLONG
        case 13:  // IFD
            return 4;
        default:
            return 0;
    }
}

std::optional<int> from_exif(std::string_view data) {
    constexpr auto start = "Exif\0\0"sv;
    const Tiff tiff(data.substr(0, start.size()) == start ? data.substr(start.size()) : data);
    const auto directory = tiff.is_valid() ? tiff.number(4, 4) : std::nullopt;
    const auto entries = directory ? tiff.number(*directory, 2) : std::nullopt;
    for (std::size_t i = 0; i < entries.value_or(0); ++i) {
        const std::size_t at = std::size_t{*directory} + 2 + i * entry_bytes;
        const auto count = tiff.number(at + 4, 4);
        if (!count) {
            return std::nullopt;
        }
        if (tiff.number(at, 2) == orientation_tag) {
            const std::size_t bytes = *count == 1 ? bytes_of_type(tiff.number(at + 2, 2).value_or(0)) : 0;
            const std::uint32_t value = tiff.number(at + 8, bytes).value_or(0);
            return value >= 1 && value <= 8 ? std::optional<int>(static_cast<int>(value)) : std::nullopt;
        }
    }
    return std::nullopt;
}

// -1 if it is none.
int digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char small = static_cast<char>(c | 0x20);
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

// Three lines, then hexadecimal with white space anywhere; empty if it is not that.
std::string from_raw_profile(std::string_view text) {
    for (int line = 0; line < 3; ++line) {
        const std::size_t end = text.find('\n');
        text = end == text.npos ? std::string_view() : text.substr(end + 1);
    }
    std::string digits(text);
    const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    digits.erase(std::remove_if(digits.begin(), digits.end(), is_space), digits.end());
    const bool hexadecimal = std::all_of(digits.begin(), digits.end(), [](char c) { return digit(c) >= 0; });
    std::string bytes(hexadecimal && digits.size() % 2 == 0 ? digits.size() / 2 : 0, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<char>(digit(digits[2 * i]) << 4 | digit(digits[2 * i + 1]));
    }
    return bytes;
}

std::optional<int> from_xmp(std::string_view packet) {
    constexpr std::string_view name = "tiff:Orientation";
    for (std::size_t at = packet.find(name); at != packet.npos; at = packet.find(name, at + 1)) {
        const std::string_view rest = packet.substr(at + name.size());
        const std::size_t sign = rest.substr(0, 2) == "=\"" ? 2 : rest.substr(0, 1) == ">" ? 1 : 0;
        if (sign == 0 || rest.size() < sign + 2) {
            continue;
        }
        const char value = rest[sign];
        if (value >= '1' && value <= '8' && rest[sign + 1] == (sign == 2 ? '"' : '<')) {
            return value - '0';
        }
    }
    return std::nullopt;
}

}  // namespace

int orientation_of(const Metadata& metadata) {
    const std::string nothing;
    if (const auto found = from_exif(metadata.exif.value_or(nothing))) {
        return *found;
    }
    if (const auto found = from_exif(from_raw_profile(metadata.raw_profile.value_or(nothing)))) {
        return *found;
    }
    return from_xmp(metadata.xmp.value_or(nothing)).value_or(1);
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
