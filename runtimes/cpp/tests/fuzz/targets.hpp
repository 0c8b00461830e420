// What is fuzzed: every door through which bytes from somebody else come in. Siblings of tests/fuzz/targets.py, from
// the same corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace hamsa::fuzz {

// "manifest", "bundle" (a manifest, a zero byte, and its file model.onnx), "external" and "ir" (the model of a bundle
// that lists it, and a file beside it), "onnx" (what looks through such a model), "image", "npy", "wav" (or FLAC).
const std::vector<std::string>& targets();

// A hamsa::Error: the bytes were refused. Any other exception is a finding.
void take(const std::string& target, const std::string& data);

// Whether the bytes were taken and not refused.
bool is_taken(const std::string& target, const std::uint8_t* data, std::size_t size);

}  // namespace hamsa::fuzz
