// Which way up a picture is: 1 is upright; 2, 4, 5 and 7 are mirrored; 3, 6 and 8 are turned. The rule is said in the
// Python runtime's orientation.py.
#pragma once

#include <optional>
#include <string>

#include "hamsa/image.hpp"

namespace hamsa {

// What a file says of its picture: the first of each kind.
struct Metadata {
    std::optional<std::string> exif, raw_profile, xmp;
};

// 1 to 8, as EXIF counts.
int orientation_of(const Metadata& metadata);

Image upright(const Image& image, int orientation);

}  // namespace hamsa
