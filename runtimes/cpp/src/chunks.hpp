// Batches of any size, cut to what one inference takes.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "backends/backend.hpp"

namespace hamsa {

// The inputs of one inference, and how many rows of the result to keep; nothing for all.
struct Chunk {
    Tensors inputs;
    std::optional<std::size_t> keep;
};

// Cut to the static batch of the bundle, or to the backend's limits for a dynamic one. A chunk that is too small is
// filled up with copies of its last image: zeros could be slower (denormals) or overflow.
std::vector<Chunk> chunks(const Tensors& inputs, const Manifest& manifest, const BatchLimits& limits);

// The results of the first `keep` inputs of an inference. An output without a batch depends on what filled it up: InputError.
Tensors first_of(const Tensors& outputs, const Manifest& manifest, std::size_t keep);

// The results of all chunks, one after the other. Several of an output without a batch are not one: InputError.
Tensors concatenated(const std::vector<Tensors>& parts, const Manifest& manifest);

}  // namespace hamsa
