// Sizes that cannot overflow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace hamsa {

// No array has more bytes: pointer differences are signed.
inline constexpr std::size_t max_bytes = PTRDIFF_MAX;

// a * b, or nothing if that is more than `max_bytes`.
inline std::optional<std::size_t> product(std::size_t a, std::size_t b) {
    if (a != 0 && b > max_bytes / a) {
        return std::nullopt;
    }
    return a * b;
}

}  // namespace hamsa
