// Regular expressions of JSON Schema, as far as manifest.schema.json needs them.
//
// Not std::regex: it recurses once for each character, so that a long text from somebody else overflows the stack.
#pragma once

#include <bitset>
#include <cstddef>
#include <string>
#include <vector>

namespace hamsa {

// A pattern that is anchored at both ends, of: characters, escaped ones, \uXXXX below 0x80, [classes], (?:groups), |,
// *,
// + and {n}. std::logic_error for any other: that is a mistake in the pattern.
//
// Texts are compared byte by byte. A class of all characters but some takes each byte of a longer one, so that it is to
// be repeated by * or +.
class Pattern {
  public:
    explicit Pattern(const std::string& text);

    // In time proportional to the text's length.
    bool matches(const std::string& text) const;

  private:
    friend class PatternParser;

    static constexpr std::size_t byte_values = 256;
    using Bytes = std::bitset<byte_values>;

    // Takes one of `bytes` and goes on to each of `next`; without any bytes it goes there at once.
    struct State {
        Bytes bytes;
        std::vector<std::size_t> next;
    };

    void enter(std::size_t state, std::vector<bool>& active) const;

    std::vector<State> states_;  // the last is the end
};

}  // namespace hamsa
