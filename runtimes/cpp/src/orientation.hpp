// How the camera was turned, as EXIF says: 1 is upright; 2, 4, 5 and 7 are mirrored; 3, 6 and 8 are turned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "hamsa/image.hpp"

namespace hamsa {

// From the TIFF structure of EXIF, which starts with "II" or "MM"; nothing if it does not say, or is damaged.
std::optional<int> orientation_from_exif(const std::uint8_t* tiff, std::size_t size);

// From an XMP document, which editors write.
std::optional<int> orientation_from_xmp(std::string_view document);

Image upright(const Image& image, int orientation);

}  // namespace hamsa
