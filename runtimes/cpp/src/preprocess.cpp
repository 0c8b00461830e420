#include "preprocess.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "arrays.hpp"
#include "clips.hpp"
#include "images.hpp"
#include "names.hpp"

namespace hamsa {
namespace {

// How far a denormalised float may be from a whole pixel. float32 rounding gives 1e-4.
constexpr double pixel_tolerance = 0.02;

bool is_float(const Tensor& tensor) { return tensor.dtype() == DType::float32 || tensor.dtype() == DType::float64; }

// --- one image, written to `out` as the graph takes it

void write_normalised(const std::uint8_t* pixels, const Preprocessing& how, float* out) {
    const std::int64_t positions = how.height * how.width;
    for (std::int64_t c = 0; c < how.channels; ++c) {
        const auto mean = static_cast<float>(how.mean[static_cast<std::size_t>(c)]);
        const auto std = static_cast<float>(how.std[static_cast<std::size_t>(c)]);
        for (std::int64_t i = 0; i < positions; ++i) {
            out[c * positions + i] = (static_cast<float>(pixels[i * how.channels + c]) / 255.0F - mean) / std;
        }
    }
}

void write_image(const Image& image, const Preprocessing& how, std::byte* out) {
    const Image converted = with_channels(image, how.channels);
    if (how.normalised_in_graph) {
        resize_and_crop(converted, how, reinterpret_cast<std::uint8_t*>(out));
        return;
    }
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(how.height * how.width * how.channels));
    resize_and_crop(converted, how, pixels.data());
    write_normalised(pixels.data(), how, reinterpret_cast<float*>(out));
}

// Normalised floats (C, H, W) back to the pixels (H, W, C) that they were made from.
template <typename T>
void write_pixels(const T* x, const Preprocessing& how, std::uint8_t* out) {
    const std::int64_t positions = how.height * how.width;
    double worst = 0;
    for (std::int64_t c = 0; c < how.channels; ++c) {
        const double mean = how.mean[static_cast<std::size_t>(c)];
        const double std = how.std[static_cast<std::size_t>(c)];
        for (std::int64_t i = 0; i < positions; ++i) {
            const double p = (static_cast<double>(x[c * positions + i]) * std + mean) * 255;
            const double whole = std::clamp(std::nearbyint(p), 0.0, 255.0);
            worst = std::max(worst, std::abs(p - whole));
            out[i * how.channels + c] = static_cast<std::uint8_t>(whole);
        }
    }
    if (worst > pixel_tolerance) {
        char off[32];
        std::snprintf(off, sizeof off, "%.3g", worst);
        throw InputError(
            std::string("a float image that is not made of 8-bit pixels: off by ") + off + " of 255 at worst",
            "(p / 255 - mean) / std of whole p in 0..255, with mean " + repr(how.mean) + " and std " + repr(how.std),
            "another normalisation, floats in 0..1, or an image that was resized as floats",
            "pass the uint8 pixels, or export with --image-dtype float32");
    }
}

template <typename T>
void write_floats(const Tensor& image, const Preprocessing& how, std::byte* out) {
    const T* x = image.as<T>();
    if (!std::all_of(x, x + image.count(), [](T value) { return std::isfinite(value); })) {
        throw InputError("a float image with NaN or infinity in it", "finite numbers");
    }
    if (how.normalised_in_graph) {
        write_pixels(x, how, reinterpret_cast<std::uint8_t*>(out));
    } else {
        std::transform(x, x + image.count(), reinterpret_cast<float*>(out), [](T v) { return static_cast<float>(v); });
    }
}

void write_float_image(const Tensor& image, const Preprocessing& how, std::byte* out) {
    const Shape expected{how.channels, how.height, how.width};
    if (image.shape() != expected) {
        throw InputError("a float image of shape " + shown(image.shape()),
                         "normalised floats of shape " + shown(expected) + ", or a batch of them", "",
                         "pass uint8 pixels (H, W, C) to have them resized");
    }
    if (image.dtype() == DType::float32) {
        write_floats<float>(image, how, out);
    } else {
        write_floats<double>(image, how, out);
    }
}

// uint8 (H, W), (H, W, 1) or (H, W, 3).
Image image_from_pixels(const Tensor& pixels) {
    const Shape& shape = pixels.shape();
    const std::string expected = "(H, W), (H, W, 1) or (H, W, 3)";
    if (shape.size() == 3 && shape[2] == 4) {
        throw InputError("an image array of shape " + shown(shape) + ": four channels", expected, "an alpha channel",
                         "pass three channels");
    }
    const bool ranked = shape.size() == 2 || (shape.size() == 3 && (shape[2] == 1 || shape[2] == 3));
    if (!ranked || pixels.count() == 0) {
        const bool first = shape.size() == 3 && (shape[0] == 1 || shape[0] == 3);
        throw InputError("a uint8 image array of shape " + shown(shape), expected, "",
                         first ? "interleave the channels: (H, W, C)" : "");
    }
    return Image(pixels.as<std::uint8_t>(), shape[0], shape[1], shape.size() == 2 ? 1 : shape[2], 0, pixels.owner());
}

void write_one(const Tensor& image, const Preprocessing& how, std::byte* out) {
    if (is_float(image)) {
        write_float_image(image, how, out);
    } else if (image.dtype() == DType::uint8) {
        write_image(image_from_pixels(image), how, out);
    } else {
        throw InputError("an image given as " + std::string(name_of(image.dtype())) + " array " + shown(image.shape()),
                         "a path, an image, a uint8 tensor (H, W, C), or a float32 tensor (C, H, W)");
    }
}

// --- a batch of them

std::vector<Tensor> singles(const Tensor& tensor) {
    if (tensor.shape().size() != 4) {
        return {tensor};
    }
    std::vector<Tensor> images;
    const Shape shape(tensor.shape().begin() + 1, tensor.shape().end());
    for (std::int64_t i = 0; i < tensor.shape()[0]; ++i) {
        const Tensor row = rows(tensor, static_cast<std::size_t>(i), 1);
        images.emplace_back(row.dtype(), shape, row.data(), row.count(), row.owner());
    }
    return images;
}

template <typename Each, typename Write>
Tensors stacked(const std::vector<Each>& images, const Manifest& manifest, Write write) {
    if (images.empty()) {
        throw InputError("no images", "at least one");
    }
    const TensorSpec& spec = manifest.inputs.front();
    Shape shape = spec.shape;
    shape[0] = static_cast<std::int64_t>(images.size());
    NewTensor memory(spec.dtype, shape);
    const std::size_t step = memory.bytes() / images.size();
    for (std::size_t i = 0; i < images.size(); ++i) {
        write(images[i], *manifest.preprocessing, memory.data() + i * step);
    }
    return {{spec.name, memory.tensor()}};
}

// --- models of anything else

void check_fits(const Tensor& tensor, const TensorSpec& spec) {
    const Shape& shape = tensor.shape();
    const bool right_shape =
        std::equal(shape.begin(), shape.end(), spec.shape.begin(), spec.shape.end(),
                   [](std::int64_t size, std::int64_t wanted) { return wanted < 0 ? size > 0 : size == wanted; });
    if (tensor.dtype() == spec.dtype && right_shape) {
        return;
    }
    std::vector<std::string> sizes;
    for (std::size_t i = 0; i < spec.shape.size(); ++i) {
        sizes.push_back(spec.shape[i] < 0 ? spec.axes.at(i) : std::to_string(spec.shape[i]));
    }
    throw InputError("the input " + repr(spec.name) + " is " + shown(tensor),
                     std::string(name_of(spec.dtype)) + " array of shape (" + joined(sizes) + ")" +
                         (spec.is_complex ? ", real and imaginary part last" : ""));
}

void check_limits(const std::string& name, std::int64_t size, const std::string& input, const Manifest& manifest) {
    for (const Axis& axis : manifest.axes) {
        if (axis.name == name && (size < axis.min || (axis.max && size > *axis.max))) {
            throw InputError("the axis " + repr(name) + " is " + std::to_string(size) + " in " + repr(input),
                             axis.max ? std::to_string(axis.min) + " to " + std::to_string(*axis.max)
                                      : "at least " + std::to_string(axis.min));
        }
    }
}

// An axis has one size in all inputs, within its limits.
void check_axes(const Tensors& tensors, const Manifest& manifest) {
    std::map<std::string, std::pair<std::string, std::int64_t>> seen;
    for (const TensorSpec& spec : manifest.inputs) {
        const Shape& shape = tensors.at(spec.name).shape();
        for (std::size_t i = 0; i < spec.axes.size(); ++i) {
            const std::string& axis = spec.axes[i];
            if (axis.empty()) {
                continue;
            }
            const auto& [first, before] = seen.emplace(axis, std::pair(spec.name, shape[i])).first->second;
            if (shape[i] != before) {
                throw InputError("the axis " + repr(axis) + " is " + std::to_string(before) + " in " + repr(first) +
                                     " and " + std::to_string(shape[i]) + " in " + repr(spec.name),
                                 "the same in both");
            }
            check_limits(axis, shape[i], spec.name, manifest);
        }
    }
}

std::vector<std::string> names_of(const std::vector<TensorSpec>& specs) {
    std::vector<std::string> names;
    std::transform(specs.begin(), specs.end(), std::back_inserter(names),
                   [](const TensorSpec& spec) { return spec.name; });
    return names;
}

Tensors checked(const Tensors& given, const Manifest& manifest) {
    const std::vector<TensorSpec>& specs = manifest.inputs;
    const std::vector<std::string> names = names_of(specs);
    for (const auto& item : given) {
        if (std::find(names.begin(), names.end(), item.first) == names.end()) {
            throw InputError("unknown input " + repr(item.first), joined(names), "", nearest(item.first, names));
        }
    }
    std::vector<std::string> missing;
    std::copy_if(names.begin(), names.end(), std::back_inserter(missing),
                 [&](const std::string& name) { return given.count(name) == 0; });
    if (!missing.empty()) {
        throw InputError("missing inputs: " + joined(missing), joined(names));
    }
    for (const TensorSpec& spec : specs) {
        check_fits(given.at(spec.name), spec);
    }
    check_axes(given, manifest);
    return given;
}

const char* kind_of(const Input& input) {
    static constexpr const char* kinds[] = {"a path", "an image", "a list of images", "a tensor", "tensors by name"};
    return kinds[input.index()];
}

Tensors from_plain(const Input& input, const Manifest& manifest) {
    const std::vector<TensorSpec>& specs = manifest.inputs;
    if (const auto* tensors = std::get_if<Tensors>(&input)) {
        return checked(*tensors, manifest);
    }
    const auto* path = std::get_if<std::filesystem::path>(&input);
    if (path != nullptr && manifest.audio) {
        return checked({{manifest.audio->input, input_from_clip(*path, manifest)}}, manifest);
    }
    const auto* tensor = std::get_if<Tensor>(&input);
    if (tensor == nullptr || specs.size() != 1) {
        throw InputError(std::string("inputs given as ") + kind_of(input), "tensors for " + joined(names_of(specs)));
    }
    return checked({{specs.front().name, *tensor}}, manifest);
}

}  // namespace

Tensors tensors_from_input(const Input& input, const Manifest& manifest) {
    if (!manifest.preprocessing) {
        return from_plain(input, manifest);
    }
    if (const auto* path = std::get_if<std::filesystem::path>(&input)) {
        return stacked(std::vector<Image>{load_image(*path)}, manifest, write_image);
    }
    if (const auto* image = std::get_if<Image>(&input)) {
        return stacked(std::vector<Image>{*image}, manifest, write_image);
    }
    if (const auto* images = std::get_if<std::vector<Image>>(&input)) {
        return stacked(*images, manifest, write_image);
    }
    if (const auto* tensor = std::get_if<Tensor>(&input)) {
        return stacked(singles(*tensor), manifest, write_one);
    }
    throw InputError("an image given as tensors by name",
                     "a path, an image, a uint8 tensor (H, W, C), or a float32 tensor (C, H, W)");
}

}  // namespace hamsa
