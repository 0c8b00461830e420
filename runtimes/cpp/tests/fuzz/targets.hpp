// What is fuzzed: every door through which bytes from somebody else come in. Siblings of tests/fuzz/targets.py, from
// the same corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace hamsa::fuzz {

// "manifest", "bundle" (a manifest, a zero byte, and its file model.onnx), "image", "npy", "wav" (or FLAC).
const std::vector<std::string>& targets();

// True: the bytes were taken; false: they were refused by a hamsa::Error. Anything else is a finding.
bool is_taken(const std::string& target, const std::uint8_t* data, std::size_t size);

}  // namespace hamsa::fuzz
