// WebP by libwebp, where the library was built with it.
#include "decode.hpp"
#include "images.hpp"

#ifdef HAMSA_WITH_WEBP
#include <webp/decode.h>
#endif

namespace hamsa {

#ifdef HAMSA_WITH_WEBP

Image decode_webp(const EncodedImage& file) {
    int width = 0, height = 0;
    if (WebPGetInfo(file.data, file.size, &width, &height) == 0) {
        throw damaged(file, "no picture");
    }
    check_file_size(width, height, file);
    NewImage image(height, width, 3);
    const std::size_t row = static_cast<std::size_t>(width) * 3;
    if (WebPDecodeRGBInto(file.data, file.size, image.row(0), row * static_cast<std::size_t>(height),
                          static_cast<int>(row)) == nullptr) {
        throw damaged(file, "its pixels cannot be unpacked");
    }
    return image.image();
}

#else

Image decode_webp(const EncodedImage& file) {
    throw MissingError(file.name + ": WebP cannot be read: this library was built without libwebp",
                       "a library that was built where the package libwebp-dev is", "", "convert it to PNG");
}

#endif

}  // namespace hamsa
