// Batches of any size, cut to what one inference takes.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "backends/backend.hpp"

namespace hamsa {

// The inputs of one inference, how many images there are in it, and how many of these were asked for.
struct Chunk {
    Tensors inputs;
    std::size_t images, keep;
};

// Cut to the static batch of the bundle, or to the backend's limits for a dynamic one. A chunk that is too small is
// filled up with copies of its last image: zeros could be slower (denormals) or overflow. InputError: an output cannot
// be put together again.
std::vector<Chunk> chunks(const Tensors& inputs, const Manifest& manifest, const BatchLimits& limits);

// What belongs to the images of a chunk that were asked for.
Tensors kept(const Tensors& outputs, const Manifest& manifest, const Chunk& chunk);

// The results of all chunks, one after the other.
Tensors concatenated(const std::vector<Tensors>& parts, const Manifest& manifest);

}  // namespace hamsa
