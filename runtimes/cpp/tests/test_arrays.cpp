// Sizes are checked and cannot overflow.
#include <cstdint>
#include <limits>

#include "arrays.hpp"
#include "checked.hpp"
#include "errors.hpp"
#include "hamsa/image.hpp"
#include "sha256.hpp"

using hamsa::DType;
using hamsa::InputError;
using hamsa::Tensor;

namespace {

constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
const float numbers[6] = {0, 1, 2, 3, 4, 5};

}  // namespace

TEST_CASE("products stop at the largest array") {
    CHECK(hamsa::product(hamsa::max_bytes, 1) == hamsa::max_bytes);
    CHECK(hamsa::product(0, SIZE_MAX) == 0);
    CHECK(!hamsa::product(hamsa::max_bytes, 2));
    CHECK(!hamsa::product(std::size_t{1} << 32, std::size_t{1} << 32));
    CHECK(!hamsa::product(1, SIZE_MAX));
}

TEST_CASE("a shape that overflows, is negative or of another size is rejected") {
    CHECK(error_of<InputError>([] {
              Tensor::view(numbers, 6, {huge, huge, 4});
          }).found() == "a shape of (9223372036854775807, 9223372036854775807, 4): more bytes than memory can hold");
    // 2^62 elements of 4 bytes are 2^64 bytes, which is 0 in 64 bits
    CHECK_THROWS_AS(Tensor::view(numbers, 0, {std::int64_t{1} << 31, std::int64_t{1} << 31}), InputError);
    CHECK_THROWS_AS(Tensor::view(numbers, 6, {-2, -3}), InputError);
    CHECK_THROWS_AS(Tensor::view(numbers, 5, {2, 3}), InputError);
    CHECK_THROWS_AS(Tensor::view(static_cast<const float*>(nullptr), 6, {2, 3}), InputError);
    CHECK_THROWS_AS(hamsa::NewTensor(DType::float32, {huge / 8}), InputError);
}

TEST_CASE("elements are read in their own type only") {
    const Tensor tensor = Tensor::view(numbers, 6, {2, 3});
    CHECK(tensor.as<float>()[5] == 5);
    CHECK(error_of<InputError>([&] { tensor.as<double>(); }).found() == "a float32 array read as float64");
}

TEST_CASE("rows share the memory, and its owner") {
    const auto owner = std::make_shared<int>(0);
    const Tensor part = hamsa::rows(Tensor(DType::float32, {3, 2}, numbers, 6, owner), 1, 2);
    CHECK(part.shape() == hamsa::Shape{2, 2});
    CHECK(part.as<float>() == numbers + 2);
    CHECK(owner.use_count() == 2);
}

TEST_CASE("shapes are shown as Python shows them") {
    CHECK(hamsa::shown(hamsa::Shape{}) == "()");
    CHECK(hamsa::shown(hamsa::Shape{5}) == "(5,)");
    CHECK(hamsa::shown(hamsa::Shape{hamsa::batch, 8}) == "('batch', 8)");
}

TEST_CASE("an image is checked when it is made") {
    const std::uint8_t pixels[12] = {};
    CHECK(hamsa::Image(pixels, 2, 2, 3).row_bytes() == 6);
    CHECK(hamsa::Image(pixels, 2, 1, 3, 8).row(1) == pixels + 8);
    CHECK_THROWS_AS(hamsa::Image(pixels, 2, 2, 3, 5), InputError);
    CHECK_THROWS_AS(hamsa::Image(pixels, 2, 2, 3, -6), InputError);
    CHECK_THROWS_AS(hamsa::Image(pixels, 2, 2, 4), InputError);
    CHECK_THROWS_AS(hamsa::Image(pixels, 0, 2, 3), InputError);
    CHECK_THROWS_AS(hamsa::Image(pixels, 2, huge, 3), InputError);
    CHECK_THROWS_AS(hamsa::Image(pixels, huge, huge / 3, 3), InputError);
    CHECK_THROWS_AS(hamsa::Image(nullptr, 2, 2, 3), InputError);
}

TEST_CASE("SHA-256 of the examples in FIPS 180-4") {
    CHECK(hamsa::sha256_of("", 0) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hamsa::sha256_of("abc", 3) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("an error says what was found, expected, likely and to try") {
    const InputError error("a", "b", "", "d");
    CHECK(std::string(error.what()) == "a\n  expected: b\n  try: d");
    CHECK(error.exit_code() == 2);
    CHECK(hamsa::MissingError("a").exit_code() == 4);
    CHECK(hamsa::BuildError("a").exit_code() == 5);
    CHECK(hamsa::EngineClosedError("a").exit_code() == 2);
}
