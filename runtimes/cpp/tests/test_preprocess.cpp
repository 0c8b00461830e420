// What goes into the graph, and what is rejected before native code sees it.
#include <cmath>
#include <limits>
#include <vector>

#include "arrays.hpp"
#include "errors.hpp"
#include "files.hpp"
#include "manifest.hpp"
#include "npy.hpp"
#include "preprocess.hpp"

using hamsa::DType;
using hamsa::Input;
using hamsa::InputError;
using hamsa::Tensor;
using hamsa::Tensors;

namespace {

const hamsa::Manifest graph = hamsa::manifest_from_json(text_of(data_folder / "tiny/manifest.json"));
const hamsa::Manifest runtime = hamsa::manifest_from_json(text_of(data_folder / "tiny-pairs/manifest.json"));
const Tensor pixels = read_npy(data_folder / "pixels.npy");  // (5, 8, 12, 3)
const std::vector<std::uint8_t> zeros(4096);

Tensor zero(DType dtype, const hamsa::Shape& shape) {
    return Tensor(dtype, shape, zeros.data(), hamsa::count_of(shape, dtype));
}

// The image, normalised: (C, H, W).
std::vector<float> normalised(const std::uint8_t* image) {
    const double mean[] = {0.5, 0.4, 0.3}, std[] = {0.2, 0.25, 0.3};
    std::vector<float> x;
    for (int c = 0; c < 3; ++c) {
        for (int i = 0; i < 96; ++i) {
            x.push_back(static_cast<float>((image[3 * i + c] / 255.0 - mean[c]) / std[c]));
        }
    }
    return x;
}

Tensor floats(const std::vector<float>& x) { return Tensor::view(x.data(), x.size(), {3, 8, 12}); }

bool same(const Tensor& a, const Tensor& b) {
    return a.bytes() == b.bytes() &&
           std::equal(static_cast<const char*>(a.data()), static_cast<const char*>(a.data()) + a.bytes(),
                      static_cast<const char*>(b.data()));
}

}  // namespace

TEST_CASE("every way to give the same pixels gives the same input") {
    const auto* first = pixels.as<std::uint8_t>();
    const hamsa::Image image(first, 8, 12, 3);
    CHECK(same(hamsa::tensors_from_input(pixels, graph).at("image"), pixels));
    const Tensor one = hamsa::rows(pixels, 0, 1);
    CHECK(same(hamsa::tensors_from_input(image, graph).at("image"), one));
    CHECK(same(hamsa::tensors_from_input(Tensor::view(first, 288, {8, 12, 3}), graph).at("image"), one));
    const std::vector<float> x = normalised(first);
    CHECK(same(hamsa::tensors_from_input(floats(x), graph).at("image"), one));
    const std::vector<double> wide(x.begin(), x.end());
    CHECK(
        same(hamsa::tensors_from_input(Tensor::view(wide.data(), wide.size(), {1, 3, 8, 12}), graph).at("image"), one));
    CHECK(same(hamsa::tensors_from_input(std::vector<hamsa::Image>{image, image}, graph).at("image").shape() ==
                       hamsa::Shape{2, 8, 12, 3}
                   ? one
                   : pixels,
               one));
}

TEST_CASE("normalisation in the runtime is float32") {
    const Tensor found = hamsa::tensors_from_input(hamsa::rows(pixels, 2, 1), runtime).at("x");
    CHECK(found.shape() == hamsa::Shape{1, 3, 8, 12});
    const std::vector<float> expected = normalised(pixels.as<std::uint8_t>() + 2 * 288);
    for (std::size_t i = 0; i < expected.size(); ++i) {
        // three float32 roundings (divide, subtract, divide) of values up to 5
        CHECK(std::abs(found.as<float>()[i] - expected[i]) <= 5 * 3 * std::ldexp(1.0F, -24));
    }
    CHECK(same(hamsa::tensors_from_input(floats(expected), runtime).at("x"), floats(expected)));
}

TEST_CASE("floats that are no pixels are rejected by a graph that normalises") {
    std::vector<float> x = normalised(pixels.as<std::uint8_t>());
    SUBCASE("a fraction of a pixel off") { x[5] += 0.03F / 255 / 0.2F; }
    SUBCASE("brighter than white") { x[5] = 9; }
    SUBCASE("darker than black") { x[5] = -9; }
    SUBCASE("not a number") { x[5] = std::nanf(""); }
    SUBCASE("infinite") { x[5] = -std::numeric_limits<float>::infinity(); }
    CHECK_THROWS_AS(hamsa::tensors_from_input(floats(x), graph), InputError);
}

TEST_CASE("anything else is rejected") {
    const std::vector<Input> inputs{
        std::vector<hamsa::Image>{},
        zero(DType::uint8, {0, 8, 12, 3}),
        zero(DType::int64, {8, 12, 3}),
        zero(DType::float16, {3, 8, 12}),
        zero(DType::float32, {8, 12, 3}),
        zero(DType::float32, {3, 9, 12}),
        zero(DType::float32, {1, 1, 3, 8, 12}),
        zero(DType::uint8, {3, 8, 12}),
        zero(DType::uint8, {2, 8, 12, 4}),
        zero(DType::uint8, {0, 12, 3}),
        zero(DType::uint8, {12}),
        zero(DType::uint8, {}),
        Tensors{{"image", zero(DType::uint8, {1, 8, 12, 3})}},
        std::filesystem::path("no such file.png"),
    };
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        CAPTURE(i);
        for (const hamsa::Manifest* manifest : {&graph, &runtime}) {
            CHECK(!error_of<InputError>([&] { hamsa::tensors_from_input(inputs[i], *manifest); }).expected().empty());
        }
    }
}

TEST_CASE("inputs of a model that is not of images") {
    hamsa::Manifest plain;
    plain.inputs = {{"tokens", DType::float32, {hamsa::batch, 3}, "", {"batch", ""}}, {"scale", DType::float32, {}, ""}};
    const Tensors good{{"tokens", zero(DType::float32, {2, 3})}, {"scale", zero(DType::float32, {})}};
    CHECK(hamsa::tensors_from_input(good, plain).size() == 2);
    const auto message = [&](const Input& input) {
        return error_of<InputError>([&] { hamsa::tensors_from_input(input, plain); }).found();
    };
    const auto with = [&](const Tensor& tokens) {
        Tensors changed = good;
        changed.at("tokens") = tokens;
        return message(changed);
    };
    CHECK(with(zero(DType::float64, {2, 3})) == "the input 'tokens' is float64 (2, 3)");
    CHECK(with(zero(DType::float32, {2, 4})) == "the input 'tokens' is float32 (2, 4)");
    CHECK(with(zero(DType::float32, {0, 3})) == "the input 'tokens' is float32 (0, 3)");
    CHECK(with(zero(DType::float32, {3})) == "the input 'tokens' is float32 (3,)");
    CHECK(message(Tensors{{"tokens", good.at("tokens")}}) == "missing inputs: scale");
    CHECK(message(Tensors{{"token", good.at("tokens")}}) == "unknown input 'token'");
    CHECK(message(good.at("tokens")) == "inputs given as a tensor");
}

TEST_CASE("an axis has one size in all inputs, within its limits") {
    hamsa::Manifest manifest;
    const auto any = hamsa::any_size;
    manifest.inputs = {{"x", DType::float32, {hamsa::batch, any}, "", {"batch", "frames"}},
                       {"y", DType::float32, {any}, "", {"frames"}}};
    manifest.axes = {{"frames", 4, 9}};
    const auto message = [&](std::int64_t first, std::int64_t second) {
        const Tensors given{{"x", zero(DType::float32, {2, first})}, {"y", zero(DType::float32, {second})}};
        return error_of<InputError>([&] { hamsa::tensors_from_input(given, manifest); }).found();
    };
    const Tensors good{{"x", zero(DType::float32, {2, 9})}, {"y", zero(DType::float32, {9})}};
    CHECK(hamsa::tensors_from_input(good, manifest).size() == 2);
    CHECK(message(5, 6) == "the axis 'frames' is 5 in 'x' and 6 in 'y'");
    CHECK(message(3, 3) == "the axis 'frames' is 3 in 'x'");
    CHECK(message(10, 10) == "the axis 'frames' is 10 in 'x'");
}
