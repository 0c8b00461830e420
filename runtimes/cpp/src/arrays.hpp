// Tensors from inside: sizes, new memory, and how they are shown in messages.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "hamsa/tensor.hpp"

namespace hamsa {

// Elements of a shape. InputError: a negative size, or more bytes than memory can hold.
std::size_t count_of(const Shape& shape, DType dtype);

// The same in bytes; none for more than memory can hold. The sizes are not negative.
std::optional<std::size_t> bytes_of(const Shape& shape, DType dtype) noexcept;

// Memory that is being filled; `tensor()` then shares it.
class NewTensor {
  public:
    NewTensor(DType dtype, Shape shape);

    std::byte* data() { return memory_.get(); }
    std::size_t bytes() const { return count_ * size_of(dtype_); }
    template <typename T>
    T* as() {
        return reinterpret_cast<T*>(memory_.get());
    }
    Tensor tensor() const { return Tensor(dtype_, shape_, memory_.get(), count_, memory_); }

  private:
    DType dtype_;
    Shape shape_;
    std::size_t count_;
    std::shared_ptr<std::byte> memory_;
};

// Memory for any element type, aligned to 64 bytes as engines like it.
std::shared_ptr<std::byte> aligned_memory(std::size_t bytes);

// Rows from `start` to `start + size` of one dimension; of the first, they share the memory.
Tensor rows(const Tensor& tensor, std::size_t start, std::size_t size, std::size_t axis = 0);

// The tensors one after the other along a dimension; their other sizes are the same.
Tensor joined_rows(const std::vector<Tensor>& parts, std::size_t axis = 0);

// "(5, 8, 12)" and "(5,)": as Python shows a shape. A batch of any size is shown as 'batch'.
std::string shown(const Shape& shape);

// The same with what the dimensions are called.
std::string shown_shape(const TensorSpec& spec);

// "float32 (5, 8)".
std::string shown(const Tensor& tensor);

// The dtype called `name` in a manifest.
DType dtype_named(const std::string& name);

}  // namespace hamsa
