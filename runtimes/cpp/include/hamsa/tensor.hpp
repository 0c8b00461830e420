// Arrays that go into an engine and come out of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hamsa/export.hpp"

namespace hamsa {

enum class DType { boolean, uint8, int8, int32, int64, float16, float32, float64 };

// Bytes of one element.
HAMSA_API std::size_t size_of(DType dtype) noexcept;
// As manifests and numpy call it: "float32".
HAMSA_API const char* name_of(DType dtype) noexcept;

using Shape = std::vector<std::int64_t>;

// In a shape that a model declares: any number of images, and a size that follows from another axis.
inline constexpr std::int64_t batch = -1;
inline constexpr std::int64_t any_size = -2;

// One input or output of a model. The layout is "NHWC", "NCHW" or empty.
struct TensorSpec {
    std::string name;
    DType dtype = DType::float32;
    Shape shape;
    std::string layout;
    // For each dimension what it is called, as in the manifest: "batch", "frames", "4*batch"; empty for a fixed size.
    std::vector<std::string> axes = {};
    // Of an output: the dimension along which the images of a batch lie, each with as many rows as any other. None for
    // an output that is of the whole batch, or of none.
    std::optional<std::size_t> batch_axis = 0;
    // Whether the last dimension holds real and imaginary part.
    bool is_complex = false;
};

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<bool> {
    static constexpr DType value = DType::boolean;
};
template <>
struct DTypeOf<std::uint8_t> {
    static constexpr DType value = DType::uint8;
};
template <>
struct DTypeOf<std::int8_t> {
    static constexpr DType value = DType::int8;
};
template <>
struct DTypeOf<std::int32_t> {
    static constexpr DType value = DType::int32;
};
template <>
struct DTypeOf<std::int64_t> {
    static constexpr DType value = DType::int64;
};
template <>
struct DTypeOf<float> {
    static constexpr DType value = DType::float32;
};
template <>
struct DTypeOf<double> {
    static constexpr DType value = DType::float64;
};

// A dense array in row-major order. It is never changed once made, so copies share the memory.
class HAMSA_API Tensor {
  public:
    // An array of `count` elements that `data` points to, and `owner` keeps alive; without an owner the caller does,
    // for as long as the tensor or a copy of it is used. InputError: a shape with a negative size, with more elements
    // than memory can hold, or not of `count` elements.
    Tensor(DType dtype, Shape shape, const void* data, std::size_t count, std::shared_ptr<const void> owner = nullptr);

    // The same, with the dtype of the pointer. float16 has no C++17 type: use the constructor.
    template <typename T>
    static Tensor view(const T* data, std::size_t count, Shape shape) {
        return Tensor(DTypeOf<T>::value, std::move(shape), data, count);
    }

    DType dtype() const noexcept { return dtype_; }
    const Shape& shape() const noexcept { return shape_; }
    std::size_t count() const noexcept { return count_; }
    std::size_t bytes() const noexcept { return count_ * size_of(dtype_); }
    const void* data() const noexcept { return data_; }
    const std::shared_ptr<const void>& owner() const noexcept { return owner_; }

    // The elements. InputError: T is not the dtype.
    template <typename T>
    const T* as() const {
        check_dtype(DTypeOf<T>::value);
        return static_cast<const T*>(data_);
    }

  private:
    void check_dtype(DType wanted) const;

    DType dtype_;
    Shape shape_;
    const void* data_;
    std::size_t count_;
    std::shared_ptr<const void> owner_;
};

// Inputs or outputs by name.
using Tensors = std::map<std::string, Tensor>;

}  // namespace hamsa
