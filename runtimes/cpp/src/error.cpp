#include "hamsa/error.hpp"

#include <utility>

namespace hamsa {
namespace {

std::string line(const char* title, const std::string& text) {
    return text.empty() ? "" : "\n  " + std::string(title) + ": " + text;
}

}  // namespace

Error::Error(std::string found, std::string expected, std::string cause, std::string fix)
    : found_(std::move(found)),
      expected_(std::move(expected)),
      cause_(std::move(cause)),
      fix_(std::move(fix)),
      message_(found_ + line("expected", expected_) + line("likely cause", cause_) + line("try", fix_)) {}

}  // namespace hamsa
