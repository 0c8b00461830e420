// What a model would take to run, told from the sizes that OpenVINO finds before it compiles or folds anything. The
// Python runtime's backends/openvino_bounds.py does the same, and says how.
#pragma once

#include <cstdint>
#include <openvino/core/model.hpp>

namespace hamsa {

// InputError: a model, with the batch settled, that runs without end or fills the memory; which it is, the caller
// knows. `file_bytes` are those of all files of the bundle.
void check_bounds(const ov::Model& model, std::uint64_t file_bytes);

}  // namespace hamsa
