// Names in messages: quoted as Python quotes them, listed, and the nearest of several.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hamsa {

// As Python's repr() shows a text.
std::string repr(std::string_view text);

// As Python shows a tuple of floats: "(0.5, 1.0)".
std::string repr(const std::vector<double>& values);
std::string repr(double value);

std::string joined(const std::vector<std::string>& parts, const char* separator = ", ");

// The share of characters that two texts have in common, in order: 2 M / (|a| + |b|), where M counts the longest common
// substring and, recursively, those to its left and right (Ratcliff and Obershelp, 1988).
double similarity(std::string_view a, std::string_view b);

// "did you mean 'x'?" for the valid name most similar to `name`, or an empty text if none is at least 0.6.
std::string nearest(const std::string& name, const std::vector<std::string>& valid);

}  // namespace hamsa
