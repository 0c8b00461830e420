#include "tensorrt/cuda.hpp"

#include <algorithm>
#include <vector>

#include "devices.hpp"
#include "hamsa/error.hpp"
#include "names.hpp"

namespace hamsa::tensorrt {
namespace {

constexpr const char* gpus = "nvidia-smi shows the GPUs";

bool is_missing(cudaError_t code) {
    const std::vector<cudaError_t> codes{
        cudaErrorInsufficientDriver,  cudaErrorStubLibrary, cudaErrorInitializationError,
        cudaErrorSystemDriverMismatch, cudaErrorNoDevice,    cudaErrorInvalidDevice,
        cudaErrorDevicesUnavailable,
    };
    return std::find(codes.begin(), codes.end(), code) != codes.end();
}

}  // namespace

void check(cudaError_t code, const char* function) {
    if (code == cudaSuccess) {
        return;
    }
    const std::string found =
        std::string(function) + ": " + cudaGetErrorName(code) + " (" + cudaGetErrorString(code) + ")";
    if (code == cudaErrorNoDevice || code == cudaErrorInvalidDevice || code == cudaErrorDevicesUnavailable) {
        throw MissingError(found, "", "no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it", gpus);
    }
    if (is_missing(code)) {
        throw MissingError(
            found, "", "no NVIDIA driver is installed, or it cannot be reached from this container",
            "nvidia-smi shows driver and GPUs; a container needs --gpus all (on a Jetson: --runtime nvidia)");
    }
    if (code == cudaErrorMemoryAllocation) {
        throw BuildError(found, "", "the GPU's memory is full; a Jetson shares it with the CPU",
                         "close other programs, use fewer threads, or build for a smaller largest batch");
    }
    throw BuildError(found);
}

int index_of(const std::string& device) {
    const DeviceName name = only_name(device, "TensorRT");
    const bool is_number = name.which.size() < 4 && name.which.find_first_not_of("0123456789") == std::string::npos;
    if (name.kind != "GPU" || !is_number) {
        const std::string near = nearest(device, {"GPU", "GPU.1"});
        throw MissingError("TensorRT has no device " + repr(device), "GPU, or GPU.1 for the second one", "", near);
    }
    return name.which.empty() ? 0 : std::stoi(name.which);
}

Gpu gpu_at(int index) {
    int count = 0;
    check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    if (index >= count) {
        throw MissingError("no GPU number " + std::to_string(index) + " here",
                           "GPU, or GPU.1 and so on: there are " + std::to_string(count));
    }
    // Not run yet: everything from here on needs a GPU.
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
    return {index, properties.name, std::to_string(properties.major) + "." + std::to_string(properties.minor)};
}

Current::Current(int index) {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    check(cudaSetDevice(index), "cudaSetDevice");
}

Current::~Current() { cudaSetDevice(before_); }

Memory memory_of(std::size_t bytes) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes), "cudaMalloc");
    return Memory(memory);
}

Stream new_stream() {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return Stream(stream);
}

}  // namespace hamsa::tensorrt
