// BMP files. The rule is said in the Python runtime's bmp.py.
#include <algorithm>
#include <array>
#include <cstdlib>

#include "decode.hpp"
#include "images.hpp"
#include "little.hpp"

namespace hamsa {
namespace {

constexpr std::size_t file_header = 14;
constexpr std::uint32_t bitfields = 3;

struct BmpHeader {
    std::size_t length, start, bits, colours;  // its own bytes, where the pixels begin, of a pixel, of the palette
    std::int64_t width, height;                // negative: from top to bottom
};

class BmpFile {
  public:
    explicit BmpFile(const EncodedImage& file) : file_(file) {}

    BmpHeader header() const {
        const std::uint32_t length = number(file_header, 4);
        if (length != 40 && length != 52 && length != 56 && length != 108 && length != 124) {
            throw other_kind("with a header of " + std::to_string(length) + " bytes");
        }
        bytes(file_header, length);
        const std::uint32_t bits = number(28, 2), packing = number(30, 4);
        const bool plain = packing == 0 || (packing == bitfields && bits == 32 && has_usual_masks());
        if (!plain || (bits != 1 && bits != 4 && bits != 8 && bits != 24 && bits != 32)) {
            throw other_kind("of " + std::to_string(bits) + " bits, compression " + std::to_string(packing));
        }
        const BmpHeader header{length, number(10, 4), bits, number(46, 4), signed_number(18), signed_number(22)};
        check_file_size(header.width, std::abs(header.height), file_);
        return header;
    }

    // Red, green and blue of all that an index of eight bits can name; black where the file has less.
    std::array<std::uint8_t, 3 << 8> palette(const BmpHeader& header) const {
        std::array<std::uint8_t, 3 << 8> found{};
        const std::size_t most = std::size_t{1} << header.bits;
        const std::size_t count = header.colours == 0 ? most : std::min(header.colours, most);
        const std::uint8_t* colour = bytes(file_header + header.length, 4 * count);
        for (std::size_t i = 0; i < count; ++i, colour += 4) {
            std::reverse_copy(colour, colour + 3, found.begin() + static_cast<std::ptrdiff_t>(3 * i));
        }
        return found;
    }

    // Throws where the file has fewer.
    const std::uint8_t* bytes(std::size_t at, std::size_t count) const {
        if (at > file_.size || count > file_.size - at) {
            throw truncated(file_);
        }
        return file_.data + at;
    }

  private:
    std::uint32_t number(std::size_t at, int count) const {
        return little_endian(bytes(at, static_cast<std::size_t>(count)), count);
    }
    std::int64_t signed_number(std::size_t at) const { return static_cast<std::int32_t>(number(at, 4)); }

    bool has_usual_masks() const {
        constexpr std::size_t at = file_header + 40;
        return file_.size >= at + 12 && number(at, 4) == 0xFF0000 && number(at + 4, 4) == 0xFF00 &&
               number(at + 8, 4) == 0xFF;
    }

    InputError other_kind(const std::string& which) const {
        return not_read(file_, "a BMP image " + which, "a BMP of Windows of 1, 4, 8, 24 or 32 bits, not compressed");
    }

    const EncodedImage& file_;
};

}  // namespace

Image decode_bmp(const EncodedImage& encoded) {
    const BmpFile file(encoded);
    const BmpHeader header = file.header();
    const std::int64_t height = std::abs(header.height);
    const std::size_t width = static_cast<std::size_t>(header.width), bits = header.bits;
    const std::size_t row_bytes = (width * bits + 31) / 32 * 4;
    const auto palette = bits <= 8 ? file.palette(header) : std::array<std::uint8_t, 3 << 8>{};
    const std::uint8_t* from = file.bytes(header.start, row_bytes * static_cast<std::size_t>(height));
    NewImage image(height, header.width, 3);
    for (std::int64_t y = 0; y < height; ++y, from += row_bytes) {
        std::uint8_t* to = image.row(header.height < 0 ? y : height - 1 - y);
        for (std::size_t x = 0; x < width; ++x, to += 3) {
            if (bits > 8) {
                const std::uint8_t* pixel = from + x * bits / 8;
                std::reverse_copy(pixel, pixel + 3, to);
            } else {
                const std::size_t at = x * bits;
                const unsigned index = from[at / 8] >> (8 - bits - at % 8) & ((1U << bits) - 1);
                std::copy_n(palette.begin() + static_cast<std::ptrdiff_t>(3 * index), 3, to);
            }
        }
    }
    return image.image();
}

}  // namespace hamsa
