// CUDA's runtime: which GPU is here, its memory and a stream, freed by their destructors.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <string>

namespace hamsa::tensorrt {

struct Gpu {
    int index = 0;
    std::string name, compute_capability;
};

// MissingError: no driver or no GPU. BuildError: any other error of CUDA.
void check(cudaError_t code, const char* function);

// 0 for "GPU", 1 for "GPU.1". MissingError: not the name of a GPU.
int index_of(const std::string& device);

// MissingError: there is no such GPU, or no driver.
Gpu gpu_at(int index);

// Makes a GPU this thread's current one, and then the one before again.
class Current {
  public:
    explicit Current(int index);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

  private:
    int before_ = 0;
};

struct FreeMemory {
    void operator()(void* memory) const { cudaFree(memory); }
};
struct FreeStream {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
using Memory = std::unique_ptr<void, FreeMemory>;
using Stream = std::unique_ptr<CUstream_st, FreeStream>;

Memory memory_of(std::size_t bytes);
Stream new_stream();

}  // namespace hamsa::tensorrt
