#include "hamsa/error.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>

namespace hamsa {
namespace {

// How many bytes the character has that begins here, by UTF-8; 0 for none.
std::size_t length_at(const std::string& text, std::size_t i) {
    const auto first = static_cast<unsigned char>(text[i]);
    const std::size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    for (std::size_t k = 1; k < length; ++k) {
        if (i + k >= text.size() || (static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) {
            return 0;
        }
    }
    return length;
}

unsigned code_at(const std::string& text, std::size_t i, std::size_t length) {
    static constexpr std::array<unsigned, 5> masks{0, 0x7F, 0x1F, 0x0F, 0x07};
    unsigned code = static_cast<unsigned char>(text[i]) & masks[length];
    for (std::size_t k = 1; k < length; ++k) {
        code = code << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3FU);
    }
    return code;
}

bool is_obeyed(unsigned code) {
    return (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7F && code < 0xA0) ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

std::string escape(unsigned code) {
    std::array<char, 8> shown{};
    std::snprintf(shown.data(), shown.size(), code < 0x100 ? "\\x%02x" : "\\u%04x", code);
    return shown.data();
}

std::string line(const char* title, const std::string& text) {
    return text.empty() ? "" : "\n  " + std::string(title) + ": " + text;
}

}  // namespace

std::string printable(const std::string& text) {
    std::string shown;
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = length_at(text, i);
        if (length == 0) {  // a byte that is no UTF-8: a half of a surrogate pair, as Python has it
            shown += escape(0xDC00U + static_cast<unsigned char>(text[i]));
        } else if (const unsigned code = code_at(text, i, length); is_obeyed(code)) {
            shown += escape(code);
        } else {
            shown += text.substr(i, length);
        }
        i += std::max<std::size_t>(length, 1);
    }
    return shown;
}

Error::Error(std::string found, std::string expected, std::string cause, std::string fix)
    : found_(printable(found)),
      expected_(printable(expected)),
      cause_(printable(cause)),
      fix_(printable(fix)),
      message_(found_ + line("expected", expected_) + line("likely cause", cause_) + line("try", fix_)) {}

}  // namespace hamsa
