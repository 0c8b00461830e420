// What the caller has, turned into what the graph takes, as the manifest says.
//
// With pixels p in 0..255 and the manifest's mean and std per channel, a normalised image is x = (p / 255 - mean) /
// std. Bundles that normalise in the graph take p (uint8, NHWC); the others take x (float32, NCHW), which is computed
// here. Floats from the caller are always x, of the model's size.
#pragma once

#include "hamsa/engine.hpp"
#include "manifest.hpp"

namespace hamsa {

// The graph's inputs by name, contiguous, in the manifest's dtypes, shapes and layout.
// InputError: the wrong type, dtype, rank or size.
Tensors tensors_from_input(const Input& input, const Manifest& manifest);

}  // namespace hamsa
