#include "hamsa/error.hpp"

#include <cstddef>

namespace hamsa {
namespace {

// Texts of files may hold what a terminal obeys: control characters are shown as Python's repr() does.
std::string printable(const std::string& text) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string shown;
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto byte = static_cast<unsigned char>(text[i]);
        const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : '\0');
        const bool is_c1 = byte == 0xC2 && next >= 0x80 && next < 0xA0;  // U+0080 to U+009F in UTF-8
        if (!is_c1 && (byte >= 0x20 || byte == '\n' || byte == '\t') && byte != 0x7F) {
            shown += text[i];
            continue;
        }
        byte = is_c1 ? next : byte;
        i += is_c1 ? 1 : 0;
        shown += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
    return shown;
}

std::string line(const char* title, const std::string& text) {
    return text.empty() ? "" : "\n  " + std::string(title) + ": " + text;
}

}  // namespace

Error::Error(std::string found, std::string expected, std::string cause, std::string fix)
    : found_(printable(found)),
      expected_(printable(expected)),
      cause_(printable(cause)),
      fix_(printable(fix)),
      message_(found_ + line("expected", expected_) + line("likely cause", cause_) + line("try", fix_)) {}

}  // namespace hamsa
