#include "chunks.hpp"

#include <algorithm>
#include <map>

#include "arrays.hpp"
#include "hamsa/error.hpp"
#include "names.hpp"

namespace hamsa {
namespace {

// Inputs that can be cut, with the dimension of the batch, and the smallest and the largest piece.
struct Batched {
    std::map<std::string, std::size_t> axes;
    std::size_t smallest = 0, largest = 0;
};

std::map<std::string, std::size_t> batch_axes(const std::vector<TensorSpec>& specs) {
    std::map<std::string, std::size_t> axes;
    for (const TensorSpec& spec : specs) {
        const auto found = std::find(spec.shape.begin(), spec.shape.end(), batch);
        if (found != spec.shape.end()) {
            axes[spec.name] = static_cast<std::size_t>(found - spec.shape.begin());
        }
    }
    return axes;
}

Batched batched(const Manifest& manifest, const BatchLimits& limits) {
    const auto axes = batch_axes(manifest.inputs);
    if (!axes.empty()) {
        return limits ? Batched{axes, limits->first, limits->second} : Batched{};
    }
    const TensorSpec& first = manifest.inputs.front();
    if (!manifest.preprocessing) {
        return {};
    }
    const auto size = static_cast<std::size_t>(first.shape[0]);
    return {{{first.name, 0}}, size, size};
}

std::string shown(const Batched& cut) {
    return cut.smallest < cut.largest ? std::to_string(cut.smallest) + " to " + std::to_string(cut.largest)
                                      : std::to_string(cut.largest) + ", which the model always takes";
}

bool is_separable(const TensorSpec& spec) { return spec.batch_axis && *spec.batch_axis < spec.shape.size(); }

void check_separable(const Manifest& manifest, std::size_t total, const Batched& cut) {
    if (!manifest.states.empty()) {
        throw InputError(std::to_string(total) + " images at once", shown(cut),
                         "the model keeps " + repr(manifest.states.front().name) +
                             " between calls: each inference is a call of its own",
                         "call the engine for each; or export with the batch that you need");
    }
    for (const TensorSpec& spec : manifest.outputs) {
        if (!is_separable(spec)) {
            throw InputError(std::to_string(total) + " images at once", shown(cut),
                             "the output " + repr(spec.name) +
                                 " is of all images of an inference together: it cannot be put together from several, "
                                 "and none may be added",
                             "leave that output out of the model; or export with the batch that you need");
        }
    }
}

Tensor filled(const Tensor& part, std::size_t axis, std::size_t missing) {
    if (missing == 0) {
        return part;
    }
    std::vector<Tensor> parts{part};
    const auto last = static_cast<std::size_t>(part.shape()[axis]) - 1;
    parts.insert(parts.end(), missing, rows(part, last, 1, axis));
    return joined_rows(parts, axis);
}

}  // namespace

std::vector<Chunk> chunks(const Tensors& inputs, const Manifest& manifest, const BatchLimits& limits) {
    const Batched cut = batched(manifest, limits);
    if (cut.axes.empty()) {
        return {{inputs, 1, 1}};
    }
    std::vector<Chunk> found;
    const auto& [any, its_axis] = *cut.axes.begin();
    const auto total = static_cast<std::size_t>(inputs.at(any).shape()[its_axis]);
    if (total < cut.smallest || total > cut.largest) {
        check_separable(manifest, total, cut);
    }
    for (std::size_t start = 0; start < total; start += cut.largest) {
        const std::size_t size = std::min(cut.largest, total - start);
        const std::size_t missing = cut.smallest > size ? cut.smallest - size : 0;
        Chunk chunk{inputs, size + missing, size};
        for (const auto& [name, axis] : cut.axes) {
            chunk.inputs.at(name) = filled(rows(inputs.at(name), start, size, axis), axis, missing);
        }
        found.push_back(std::move(chunk));
    }
    return found;
}

Tensors kept(const Tensors& outputs, const Manifest& manifest, const Chunk& chunk) {
    if (chunk.keep == chunk.images) {
        return outputs;
    }
    Tensors result;
    for (const TensorSpec& spec : manifest.outputs) {
        const Tensor& whole = outputs.at(spec.name);
        const std::size_t axis = spec.batch_axis.value_or(0);
        const auto size = static_cast<std::size_t>(whole.shape().at(axis));
        if (size % chunk.images != 0) {
            throw BuildError("the engine returned " + shown(whole) + " for the output " + repr(spec.name) + " of " +
                                 std::to_string(chunk.images) + " images",
                             "a multiple of " + std::to_string(chunk.images) + " along dimension " +
                                 std::to_string(axis) + ", as the manifest says");
        }
        result.emplace(spec.name, rows(whole, 0, size / chunk.images * chunk.keep, axis));
    }
    return result;
}

Tensors concatenated(const std::vector<Tensors>& parts, const Manifest& manifest) {
    if (parts.size() == 1) {
        return parts.front();
    }
    Tensors result;
    for (const TensorSpec& spec : manifest.outputs) {
        std::vector<Tensor> each;
        for (const Tensors& part : parts) {
            each.push_back(part.at(spec.name));
        }
        result.emplace(spec.name, joined_rows(each, spec.batch_axis.value_or(0)));
    }
    return result;
}

}  // namespace hamsa
