// Pictures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "hamsa/export.hpp"

namespace hamsa {

// 8-bit pixels, grey or RGB, rows from top to bottom, channels interleaved. Never changed once made: copies share
// memory.
class HAMSA_API Image {
  public:
    // Pixels that `data` points to, and `owner` keeps alive; without an owner the caller does. `row_bytes` is the
    // distance from one row to the next, 0 for rows without gaps; camera frames often have gaps. InputError: no pixels,
    // another number of channels than 1 or 3, rows that overlap, or a size that overflows.
    Image(const std::uint8_t* data, std::int64_t height, std::int64_t width, std::int64_t channels,
          std::int64_t row_bytes = 0, std::shared_ptr<const void> owner = nullptr);

    std::int64_t height() const noexcept { return height_; }
    std::int64_t width() const noexcept { return width_; }
    std::int64_t channels() const noexcept { return channels_; }
    std::int64_t row_bytes() const noexcept { return row_bytes_; }
    const std::uint8_t* row(std::int64_t y) const noexcept { return data_ + y * row_bytes_; }
    const std::shared_ptr<const void>& owner() const noexcept { return owner_; }

  private:
    const std::uint8_t* data_;
    std::int64_t height_, width_, channels_, row_bytes_;
    std::shared_ptr<const void> owner_;
};

// Decodes a JPEG, PNG, BMP or WebP file, upright (EXIF orientation); grey JPEG and PNG stay grey. Transparency is
// dropped; of an animation the first frame is taken.
// InputError: no such file, another format, damaged, more than 8 bits of grey, or above 50,331,648 pixels (WebP: half of
// it; found in the header, before anything is decoded) or 150,994,944 bytes. MissingError: WebP, in a library that was
// built without libwebp.
HAMSA_API Image load_image(const std::filesystem::path& path);

}  // namespace hamsa
