// Numbers in files, little-endian.
#pragma once

#include <cstdint>

namespace hamsa {

// Of one to four bytes.
inline std::uint32_t little_endian(const std::uint8_t* bytes, int count) {
    std::uint32_t value = 0;
    for (int i = count - 1; i >= 0; --i) {
        value = value << 8 | bytes[i];
    }
    return value;
}

}  // namespace hamsa
