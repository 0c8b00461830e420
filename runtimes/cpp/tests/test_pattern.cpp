// Patterns as std::regex has them, but without its recursion.
#include <regex>
#include <stdexcept>

#include "errors.hpp"
#include "pattern.hpp"

using hamsa::Pattern;

TEST_CASE("patterns match what std::regex matches") {
    const std::vector<std::string> patterns{
        "^$",          "^a$",           "^a*$",      "^a+$",         "^(?:ab)*$",     "^(?:a|bc)+$",     "^[abc]{3}$",
        "^[a-c]*$",    "^[^a-c]+$",     "^a\\.b$",   "^[.]$",        "^[\\\\/]+$",    "^(?:a*)*$",       "^a(?:|b)c$",
        "^(?:ab){2}$", "^[\\u0041-C]$", "^[a-c-]+$", "^(?:a+|b*)+$", "^\\u0061{2}b$", "^(?:a(?:b|c)+)*$"};
    const std::vector<std::string> texts{"",   "a",    "b",     "aa", "ab",   "abc", "abab", "bc",    "aab",
                                         "c.", "a.b",  ".",     "/",  "\\/",  "A",   "D",    "ac",    "a-c",
                                         "d",  "abbc", "aab\n", "\n", "acab", "bbb", "a\n",  "ababab"};
    for (const std::string& pattern : patterns) {
        const std::regex judge(pattern);
        for (const std::string& text : texts) {
            CAPTURE(pattern);
            CAPTURE(text);
            CHECK(Pattern(pattern).matches(text) == std::regex_match(text, judge));
        }
    }
}

TEST_CASE("a NUL is a character like others, and so is every byte of a longer one") {
    const Pattern no_nul("^[^\\u0000]*$");
    CHECK(no_nul.matches("\xc3\xbc \xf0\x9f\xa6\xa2"));
    CHECK(!no_nul.matches(std::string("a\0b", 3)));
    CHECK(!no_nul.matches(std::string("\0", 1)));
}

TEST_CASE("a text of megabytes needs no stack") {
    CHECK(Pattern("^(?:a|b)*$").matches(std::string(4'000'000, 'a')));
    CHECK(!Pattern("^(?:a|b)*$").matches(std::string(4'000'000, 'a') + "c"));
}

TEST_CASE("what is not known in a pattern is a mistake, and never left out") {
    for (const std::string pattern :
         {"",      "^",     "a$",   "^a",    "^a)$",      "^(?:a$",     "^(a)$", "^a?$",  "^a{}$", "^a{1,2}$",
          "^a|b$", "^a.b$", "^[a$", "^\\d$", "^\\u00fc$", "^\xc3\xbc$", "^*$",   "^a**$", "^[[]$", "^\\$"}) {
        CAPTURE(pattern);
        CHECK_THROWS_AS(Pattern{pattern}, std::logic_error);
    }
}
