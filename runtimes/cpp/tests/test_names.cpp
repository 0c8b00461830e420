#include <doctest/doctest.h>

#include <string>

#include "names.hpp"

// Values of Python's difflib.SequenceMatcher(None, a, b).ratio().
TEST_CASE("similarity is that of matching blocks") {
    CHECK(hamsa::similarity("abcd", "bcde") == doctest::Approx(0.75));
    CHECK(hamsa::similarity("presision", "precision") == doctest::Approx(0.8888888888888888));
    CHECK(hamsa::similarity("abcdef", "fedcba") == doctest::Approx(0.16666666666666666));
    CHECK(hamsa::similarity("", "") == 1);
}

TEST_CASE("the nearest name, if one is near") {
    CHECK(hamsa::nearest("OPNVINO", {"onnx", "openvino", "tensorrt"}) == "did you mean 'openvino'?");
    CHECK(hamsa::nearest("x", {"onnx", "openvino"}).empty());
    CHECK(hamsa::nearest(std::string(4'000'000, 'o'), {"onnx", "openvino"}).empty());
}

TEST_CASE("texts are quoted as Python quotes them") {
    CHECK(hamsa::repr("a'b") == "\"a'b\"");
    CHECK(hamsa::repr("a'\"b") == "'a\\'\"b'");
    CHECK(hamsa::repr("a\n\\\x01") == "'a\\n\\\\\\x01'");
    CHECK(hamsa::repr("Größe") == "'Größe'");
}
