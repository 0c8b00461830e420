#pragma once

#include <cstddef>
#include <string>

namespace hamsa {

// The SHA-256 of some bytes, as 64 lower-case hexadecimal digits.
std::string sha256_of(const void* data, std::size_t size);

}  // namespace hamsa
