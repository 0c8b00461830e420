#include "arrays.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <numeric>
#include <utility>

#include "checked.hpp"
#include "hamsa/error.hpp"

namespace hamsa {
namespace {

struct DTypeRow {
    DType dtype;
    const char* name;
    std::size_t size;
};

constexpr std::array<DTypeRow, 8> dtypes{{
    {DType::boolean, "bool", 1},
    {DType::uint8, "uint8", 1},
    {DType::int8, "int8", 1},
    {DType::int32, "int32", 4},
    {DType::int64, "int64", 8},
    {DType::float16, "float16", 2},
    {DType::float32, "float32", 4},
    {DType::float64, "float64", 8},
}};

const DTypeRow& row_of(DType dtype) noexcept { return dtypes[static_cast<std::size_t>(dtype)]; }

constexpr std::align_val_t alignment{64};

}  // namespace

std::size_t size_of(DType dtype) noexcept { return row_of(dtype).size; }

const char* name_of(DType dtype) noexcept { return row_of(dtype).name; }

DType dtype_named(const std::string& name) {
    for (const DTypeRow& row : dtypes) {
        if (row.name == name) {
            return row.dtype;
        }
    }
    throw InputError("unknown dtype '" + name + "'", "a dtype that a manifest may have");
}

std::optional<std::size_t> bytes_of(const Shape& shape, DType dtype) noexcept {
    std::optional<std::size_t> bytes = size_of(dtype);
    for (const std::int64_t size : shape) {
        bytes = bytes ? product(*bytes, static_cast<std::size_t>(size)) : bytes;
    }
    return bytes;
}

std::size_t count_of(const Shape& shape, DType dtype) {
    if (std::any_of(shape.begin(), shape.end(), [](std::int64_t size) { return size < 0; })) {
        throw InputError("a shape of " + shown(shape), "no negative size");
    }
    const std::optional<std::size_t> bytes = bytes_of(shape, dtype);
    if (!bytes) {
        throw InputError("a shape of " + shown(shape) + ": more bytes than memory can hold", "an array that exists",
                         "sizes that were read from damaged data");
    }
    return *bytes / size_of(dtype);
}

Tensor::Tensor(DType dtype, Shape shape, const void* data, std::size_t count, std::shared_ptr<const void> owner)
    : dtype_(dtype), shape_(std::move(shape)), data_(data), count_(count_of(shape_, dtype)), owner_(std::move(owner)) {
    if (count != count_) {
        throw InputError("an array of " + std::to_string(count) + " elements for the shape " + shown(shape_),
                         std::to_string(count_) + " elements", "the array is not contiguous, or of another size");
    }
    if (data == nullptr && count_ != 0) {
        throw InputError("an array without memory for the shape " + shown(shape_), "a pointer to its elements");
    }
}

void Tensor::check_dtype(DType wanted) const {
    if (wanted != dtype_) {
        throw InputError("a " + std::string(name_of(dtype_)) + " array read as " + name_of(wanted), name_of(dtype_));
    }
}

std::shared_ptr<std::byte> aligned_memory(std::size_t bytes) {
    auto* memory = static_cast<std::byte*>(::operator new(bytes == 0 ? 1 : bytes, alignment, std::nothrow));
    if (memory == nullptr) {
        throw InputError(std::to_string(bytes) + " bytes are more memory than there is",
                         "an array that fits in memory");
    }
    return {memory, [](std::byte* each) { ::operator delete(each, alignment); }};
}

NewTensor::NewTensor(DType dtype, Shape shape)
    : dtype_(dtype),
      shape_(std::move(shape)),
      count_(count_of(shape_, dtype)),
      memory_(aligned_memory(count_ * size_of(dtype))) {}

namespace {

// Elements of a tensor before a dimension, and behind it.
std::pair<std::size_t, std::size_t> around(const Shape& shape, std::size_t axis) {
    const auto middle = shape.begin() + static_cast<std::ptrdiff_t>(axis);
    const auto times = [](std::size_t count, std::int64_t size) { return count * static_cast<std::size_t>(size); };
    return {std::accumulate(shape.begin(), middle, std::size_t{1}, times),
            std::accumulate(middle + 1, shape.end(), std::size_t{1}, times)};
}

}  // namespace

Tensor joined_rows(const std::vector<Tensor>& parts, std::size_t axis) {
    Shape shape = parts.front().shape();
    std::int64_t& total = shape.at(axis);
    total = 0;
    for (const Tensor& part : parts) {
        total += part.shape().at(axis);
    }
    NewTensor result(parts.front().dtype(), shape);
    const std::size_t before = around(shape, axis).first;
    std::byte* end = result.data();
    for (std::size_t i = 0; i < before; ++i) {
        for (const Tensor& part : parts) {
            const std::size_t bytes = part.bytes() / before;
            std::memcpy(end, static_cast<const std::byte*>(part.data()) + i * bytes, bytes);
            end += bytes;
        }
    }
    return result.tensor();
}

Tensor rows(const Tensor& tensor, std::size_t start, std::size_t size, std::size_t axis) {
    Shape shape = tensor.shape();
    if (axis != 0) {
        const auto [before, behind] = around(shape, axis);
        const std::size_t row = behind * size_of(tensor.dtype());
        const std::size_t step = static_cast<std::size_t>(shape.at(axis)) * row;
        shape[axis] = static_cast<std::int64_t>(size);
        NewTensor result(tensor.dtype(), shape);
        for (std::size_t i = 0; i < before; ++i) {
            const auto* from = static_cast<const std::byte*>(tensor.data()) + i * step + start * row;
            std::memcpy(result.data() + i * size * row, from, size * row);
        }
        return result.tensor();
    }
    const auto total = static_cast<std::size_t>(shape.at(0));
    const std::size_t elements = total == 0 ? 0 : tensor.count() / total;
    shape[0] = static_cast<std::int64_t>(size);
    const auto* data = static_cast<const std::byte*>(tensor.data()) + start * elements * size_of(tensor.dtype());
    return Tensor(tensor.dtype(), std::move(shape), data, size * elements, tensor.owner());
}

namespace {

std::string shown_size(std::int64_t size) {
    return size == batch ? "'batch'" : size == any_size ? "'any'" : std::to_string(size);
}

}  // namespace

std::string shown(const Shape& shape) {
    std::string text;
    for (const std::int64_t size : shape) {
        text += (text.empty() ? "" : ", ") + shown_size(size);
    }
    return "(" + text + (shape.size() == 1 ? ",)" : ")");
}

std::string shown_shape(const TensorSpec& spec) {
    std::string text;
    for (std::size_t i = 0; i < spec.shape.size(); ++i) {
        const bool is_named = i < spec.axes.size() && !spec.axes[i].empty();
        text += (text.empty() ? "" : ", ") + (is_named ? "'" + spec.axes[i] + "'" : shown_size(spec.shape[i]));
    }
    return "(" + text + (spec.shape.size() == 1 ? ",)" : ")");
}

std::string shown(const Tensor& tensor) { return name_of(tensor.dtype()) + (" " + shown(tensor.shape())); }

}  // namespace hamsa
