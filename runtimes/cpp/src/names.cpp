#include "names.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace hamsa {
namespace {

constexpr double close_enough = 0.6;

std::string lowered(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

struct Match {
    std::size_t in_a = 0, in_b = 0, size = 0;
};

// The longest common substring; of several the first in a, then in b.
Match longest_match(std::string_view a, std::string_view b) {
    Match best;
    std::vector<std::size_t> before(b.size() + 1), now(b.size() + 1);  // lengths of matches that end at b[j - 1]
    for (std::size_t i = 0; i < a.size(); ++i) {
        for (std::size_t j = 0; j < b.size(); ++j) {
            now[j + 1] = a[i] == b[j] ? before[j] + 1 : 0;
            if (now[j + 1] > best.size) {
                best = {i + 1 - now[j + 1], j + 1 - now[j + 1], now[j + 1]};
            }
        }
        std::swap(before, now);
    }
    return best;
}

std::size_t matching(std::string_view a, std::string_view b) {
    const Match match = longest_match(a, b);
    if (match.size == 0) {
        return 0;
    }
    return match.size + matching(a.substr(0, match.in_a), b.substr(0, match.in_b)) +
           matching(a.substr(match.in_a + match.size), b.substr(match.in_b + match.size));
}

}  // namespace

std::string repr(std::string_view text) {
    const bool has_single = text.find('\'') != std::string_view::npos;
    const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
    std::string result(1, quote);
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n' || c == '\r' || c == '\t') {
            result += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
        } else if (byte < 0x20 || byte == 0x7f) {
            char escape[5];
            std::snprintf(escape, sizeof escape, "\\x%02x", byte);
            result += escape;
        } else {
            result += c == quote || c == '\\' ? std::string{'\\', c} : std::string{c};
        }
    }
    return result + quote;
}

std::string repr(double value) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    const std::string text(digits, end);
    return text.find_first_not_of("-0123456789") == std::string::npos ? text + ".0" : text;
}

std::string repr(const std::vector<double>& values) {
    std::vector<std::string> texts;
    for (const double value : values) {
        texts.push_back(repr(value));
    }
    return "(" + joined(texts) + (values.size() == 1 ? ",)" : ")");
}

std::string joined(const std::vector<std::string>& parts, const char* separator) {
    std::string text;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        text += (i == 0 ? "" : separator) + parts[i];
    }
    return text;
}

double similarity(std::string_view a, std::string_view b) {
    const auto total = static_cast<double>(a.size() + b.size());
    return total == 0 ? 1.0 : 2.0 * static_cast<double>(matching(a, b)) / total;
}

std::string nearest(const std::string& name, const std::vector<std::string>& valid) {
    const std::string wanted = lowered(name);
    double best = 0;
    std::string found;
    for (const std::string& each : valid) {
        const std::string candidate = lowered(each);
        const auto shorter = static_cast<double>(std::min(candidate.size(), wanted.size()));
        const auto total = static_cast<double>(candidate.size() + wanted.size());
        // No similarity is above this bound; it keeps a name of megabytes from being compared.
        if (total == 0 || 2 * shorter / total < close_enough) {
            continue;
        }
        const double score = similarity(candidate, wanted);
        if (score >= close_enough && (score > best || (score == best && candidate > lowered(found)))) {
            best = score;
            found = each;
        }
    }
    return found.empty() ? "" : "did you mean " + repr(found) + "?";
}

}  // namespace hamsa
