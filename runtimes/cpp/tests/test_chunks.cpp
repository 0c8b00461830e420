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
    manifest.outputs = {{"x", hamsa::DType::float32, {first, 2}, ""}};
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
    CHECK(!found[1].keep);
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

TEST_CASE("several rows of an output may belong to one input, or none") {
    hamsa::Manifest manifest = manifest_for(2);
    manifest.outputs[0].rows = 2;
    const hamsa::Tensors four{{"x", Tensor::view(numbers, 8, {4, 2})}};
    CHECK(hamsa::first_of(four, manifest, 1).at("x").shape() == hamsa::Shape{2, 2});
    CHECK(hamsa::concatenated({four, four}, manifest).at("x").shape() == hamsa::Shape{8, 2});
    manifest.outputs[0].rows = 0;
    CHECK(hamsa::concatenated({four}, manifest).at("x").shape() == hamsa::Shape{4, 2});
    CHECK_THROWS_AS(hamsa::concatenated({four, four}, manifest), hamsa::InputError);
    CHECK_THROWS_AS(hamsa::first_of(four, manifest, 1), hamsa::InputError);
}
