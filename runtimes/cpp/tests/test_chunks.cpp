#include <doctest/doctest.h>

#include <numeric>

#include "arrays.hpp"
#include "chunks.hpp"
#include "hamsa/error.hpp"

using hamsa::Chunk;
using hamsa::Tensor;

namespace {

hamsa::Manifest manifest_for(std::int64_t first) {
    hamsa::Manifest manifest;
    manifest.inputs = {{"x", hamsa::DType::float32, {first, 2}, ""}};
    manifest.outputs = manifest.inputs;
    manifest.preprocessing.emplace();
    return manifest;
}

std::vector<float> values(const Tensor& tensor) { return {tensor.as<float>(), tensor.as<float>() + tensor.count()}; }

const float numbers[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
const hamsa::Tensors five{{"x", Tensor::view(numbers, 10, {5, 2})}};

}  // namespace

TEST_CASE("a static batch cuts, and fills the last piece with its last image") {
    const std::vector<Chunk> found = hamsa::chunks(five, manifest_for(2), std::nullopt);
    REQUIRE(found.size() == 3);
    CHECK(values(found[1].inputs.at("x")) == std::vector<float>{4, 5, 6, 7});
    CHECK(found[0].inputs.at("x").data() == numbers);  // whole pieces are not copied
    CHECK(found[1].keep == 2);
    CHECK(values(found[2].inputs.at("x")) == std::vector<float>{8, 9, 8, 9});
    CHECK(found[2].keep == 1);
}

TEST_CASE("a dynamic batch is one piece, or within the backend's limits") {
    CHECK(hamsa::chunks(five, manifest_for(hamsa::batch), std::nullopt).size() == 1);
    const std::vector<Chunk> found =
        hamsa::chunks(five, manifest_for(hamsa::batch), std::pair<std::size_t, std::size_t>(2, 4));
    REQUIRE(found.size() == 2);
    CHECK(found[0].inputs.at("x").shape() == hamsa::Shape{4, 2});
    CHECK(found[1].inputs.at("x").shape() == hamsa::Shape{2, 2});
    CHECK(found[1].keep == 1);
}

TEST_CASE("a model without images is not cut") {
    hamsa::Manifest manifest = manifest_for(5);
    manifest.preprocessing.reset();
    CHECK(hamsa::chunks(five, manifest, std::nullopt).size() == 1);
}

TEST_CASE("results are put together in order") {
    const std::vector<Chunk> found =
        hamsa::chunks(five, manifest_for(hamsa::batch), std::pair<std::size_t, std::size_t>(1, 2));
    std::vector<hamsa::Tensors> parts;
    for (const Chunk& chunk : found) {
        parts.push_back(chunk.inputs);
    }
    const Tensor whole = hamsa::concatenated(parts, manifest_for(hamsa::batch)).at("x");
    CHECK(whole.shape() == hamsa::Shape{5, 2});
    CHECK(values(whole) == std::vector<float>(numbers, numbers + 10));
}

TEST_CASE("each image has as many rows of an output as any other, along any dimension") {
    hamsa::Manifest manifest = manifest_for(2);
    const Chunk half{{}, 2, 1};
    const hamsa::Tensors four{{"x", Tensor::view(numbers, 8, {4, 2})}};
    CHECK(values(hamsa::kept(four, manifest, half).at("x")) == std::vector<float>{0, 1, 2, 3});
    CHECK(hamsa::concatenated({four, four}, manifest).at("x").shape() == hamsa::Shape{8, 2});
    manifest.outputs[0].batch_axis = 1;
    CHECK(values(hamsa::kept(four, manifest, half).at("x")) == std::vector<float>{0, 2, 4, 6});
    const Tensor joined = hamsa::concatenated({four, four}, manifest).at("x");
    CHECK(joined.shape() == hamsa::Shape{4, 4});
    CHECK(values(joined) == std::vector<float>{0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7});
}

TEST_CASE("a batch that lies along the second dimension is cut there") {
    hamsa::Manifest manifest = manifest_for(5);
    manifest.preprocessing.reset();
    manifest.inputs[0].shape = {5, hamsa::batch};
    const std::vector<Chunk> found = hamsa::chunks(five, manifest, std::pair<std::size_t, std::size_t>(3, 4));
    REQUIRE(found.size() == 1);
    CHECK(values(found[0].inputs.at("x")) == std::vector<float>{0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9});
    CHECK(found[0].keep == 2);
}

TEST_CASE("what is of all images of an inference together is neither filled up nor put together") {
    hamsa::Manifest manifest = manifest_for(2);
    manifest.outputs[0].batch_axis = std::nullopt;
    CHECK_THROWS_AS(hamsa::chunks(five, manifest, std::nullopt), hamsa::InputError);
    const hamsa::Tensors two{{"x", Tensor::view(numbers, 4, {2, 2})}};
    CHECK(hamsa::chunks(two, manifest, std::nullopt).size() == 1);
}
