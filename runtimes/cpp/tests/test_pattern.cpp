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

TEST_CASE("characters beyond ASCII may be left out of all others") {
    const Pattern plain("^[^\\u007f-\\u009f\\u2028-\\u202e\\u2066-\\u2069]*$");
    for (const char* text : {"", "a", "\xc2\xa0", "\xc3\xbc", "\xdf\xbf", "\xe2\x80\xa7", "\xe2\x80\xaf", "\xe2\x81\xa5",
                             "\xe2\x81\xaa", "\xe2\x82\xac", "\xe3\x80\xa8", "\xf0\x9f\xa6\xa2", "\xe2\x80\xa7\xc3\xbc"}) {
        CAPTURE(text);
        CHECK(plain.matches(text));
    }
    for (const char* text : {"\x7f", "\xc2\x80", "\xc2\x9f", "\xe2\x80\xa8", "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x81\xa9",
                             "a\xe2\x80\xaa", "\xc3\xbc\xc2\x85" "b", "\xf0\x9f\xa6\xa2\xe2\x81\xa7"}) {
        CAPTURE(text);
        CHECK(!plain.matches(text));
    }
    const Pattern all_of_a_kind("^[^\\u0080-\\u07ff]*$");
    CHECK(all_of_a_kind.matches("a\xe2\x82\xac"));
    CHECK(!all_of_a_kind.matches("\xc3\xbc"));
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
