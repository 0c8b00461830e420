#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "hamsa/engine.hpp"

namespace hamsa {

// The most probable labels of every row of logits (images, classes), best first; without labels, indices.
// InputError: another shape.
std::vector<std::vector<Label>> best_labels(const Tensor& logits, const std::vector<std::string>& labels,
                                            std::size_t top);

}  // namespace hamsa
