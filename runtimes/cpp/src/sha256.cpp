#include "sha256.hpp"

#include <openssl/evp.h>

#include <array>

#include "hamsa/error.hpp"

namespace hamsa {

std::string sha256_of(const void* data, std::size_t size) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int length = 0;
    if (EVP_Digest(data, size, digest.data(), &length, EVP_sha256(), nullptr) != 1) {
        throw Error("OpenSSL has no SHA-256 here", "a library that computes it",
                    "a build or policy that leaves it out");
    }
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < length; ++i) {
        text += digits[digest[i] >> 4];
        text += digits[digest[i] & 15];
    }
    return text;
}

}  // namespace hamsa
