// The files that a model file makes an engine open, found in its bytes before an engine sees it. The Python runtime's
// named_files.py does the same, and says how.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

namespace hamsa {

// The names of all files that an ONNX file says its tensors lie in.
// InputError: no ONNX model, nested too deeply, too many fields, or an operator that opens files itself; which file it
// is, the caller knows.
std::set<std::string> locations_in_onnx(std::string_view data);

// InputError: an ONNX model, which `locations_in_onnx` has looked through, runs without end or too many nodes. The
// Python runtime's onnx_steps.py does the same, and says how they are counted.
void check_steps(std::string_view data);

// InputError: not OpenVINO's XML, or one that names a file of weights.
void check_ir(std::string_view data);

// The same ONNX model, with its tensors at addresses of memory in place of files, as OpenVINO takes it. `bytes_of` gives
// the whole content of a file, which has to stay where it is. The names in it are those that `locations_in_onnx` gives.
// InputError: an extent that its file does not have.
std::string onnx_with_addresses(std::string_view data,
                                const std::function<std::string_view(const std::string&)>& bytes_of);

}  // namespace hamsa
