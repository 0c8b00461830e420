#include "chunks.hpp"

#include <algorithm>
#include <cstring>

#include "arrays.hpp"
#include "hamsa/error.hpp"
#include "names.hpp"

namespace hamsa {
namespace {

// Inputs that can be cut along their first dimension, with the smallest and the largest piece.
struct Batched {
    std::vector<std::string> names;
    std::size_t smallest = 0, largest = 0;
};

Batched batched(const Manifest& manifest, const BatchLimits& limits) {
    Batched found;
    for (const TensorSpec& spec : manifest.inputs) {
        if (!spec.shape.empty() && spec.shape[0] == batch) {
            found.names.push_back(spec.name);
        }
    }
    if (!found.names.empty()) {
        return limits ? Batched{found.names, limits->first, limits->second} : Batched{};
    }
    const TensorSpec& first = manifest.inputs.front();
    if (!manifest.preprocessing) {
        return {};
    }
    const auto size = static_cast<std::size_t>(first.shape[0]);
    return {{first.name}, size, size};
}

Tensor joined_rows(const std::vector<Tensor>& parts) {
    Shape shape = parts.front().shape();
    shape[0] = 0;
    for (const Tensor& part : parts) {
        shape[0] += part.shape().at(0);
    }
    NewTensor result(parts.front().dtype(), shape);
    std::byte* end = result.data();
    for (const Tensor& part : parts) {
        std::memcpy(end, part.data(), part.bytes());
        end += part.bytes();
    }
    return result.tensor();
}

void check_batched(const Manifest& manifest, const std::string& found) {
    for (const TensorSpec& spec : manifest.outputs) {
        if (spec.rows == 0) {
            throw InputError(found + ", and the output " + repr(spec.name) + " has no batch",
                             "the inputs of one inference: its result is of all of them together", "",
                             "pass as many as the batch of the bundle");
        }
    }
}

Tensor filled(const Tensor& part, std::size_t missing) {
    if (missing == 0) {
        return part;
    }
    std::vector<Tensor> parts{part};
    const auto last = static_cast<std::size_t>(part.shape()[0]) - 1;
    parts.insert(parts.end(), missing, rows(part, last, 1));
    return joined_rows(parts);
}

}  // namespace

std::vector<Chunk> chunks(const Tensors& inputs, const Manifest& manifest, const BatchLimits& limits) {
    const Batched cut = batched(manifest, limits);
    if (cut.names.empty()) {
        return {{inputs, std::nullopt}};
    }
    std::vector<Chunk> found;
    const auto total = static_cast<std::size_t>(inputs.at(cut.names[0]).shape()[0]);
    for (std::size_t start = 0; start < total; start += cut.largest) {
        const std::size_t size = std::min(cut.largest, total - start);
        const std::size_t missing = cut.smallest > size ? cut.smallest - size : 0;
        Chunk chunk{inputs, missing == 0 ? std::nullopt : std::optional(size)};
        for (const std::string& name : cut.names) {
            chunk.inputs.at(name) = filled(rows(inputs.at(name), start, size), missing);
        }
        found.push_back(std::move(chunk));
    }
    return found;
}

Tensors first_of(const Tensors& outputs, const Manifest& manifest, std::size_t keep) {
    check_batched(manifest, std::to_string(keep) + " inputs, fewer than the batch");
    Tensors kept;
    for (const TensorSpec& spec : manifest.outputs) {
        kept.emplace(spec.name, rows(outputs.at(spec.name), 0, keep * spec.rows));
    }
    return kept;
}

Tensors concatenated(const std::vector<Tensors>& parts, const Manifest& manifest) {
    if (parts.size() == 1) {
        return parts.front();
    }
    check_batched(manifest, "inputs for " + std::to_string(parts.size()) + " inferences");
    Tensors result;
    for (const auto& [name, first] : parts.front()) {
        std::vector<Tensor> each;
        for (const Tensors& part : parts) {
            each.push_back(part.at(name));
        }
        result.emplace(name, joined_rows(each));
    }
    return result;
}

}  // namespace hamsa
