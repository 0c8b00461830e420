// TensorRT, or TensorRT-RTX: NVIDIA GPUs. Runs plans that were built for this version on this GPU, from the bundle or
// from the cache that hamsa-build fills; it builds none. One execution context: inferences of one engine are
// serialised, and one engine for each thread runs them in parallel.
//
// Compiled and linked, but not yet run on a GPU: only what comes before the first use of one is tested.
#include <NvInferRuntime.h>

#include <algorithm>
#include <mutex>

#include "arrays.hpp"
#include "backends/backend.hpp"
#include "names.hpp"
#include "tensorrt/cuda.hpp"
#include "tensorrt/options.hpp"
#include "tensorrt/plans.hpp"

namespace hamsa {
namespace {

#if defined(HAMSA_WITH_TENSORRT_RTX)
constexpr const char* target = "tensorrt-rtx";
constexpr const char* python_module = "tensorrt_rtx";
constexpr bool compiled_on_the_device = true;
#else
constexpr const char* target = "tensorrt";
constexpr const char* python_module = "tensorrt";
constexpr bool compiled_on_the_device = false;
#endif

// Keeps what TensorRT says is wrong, for the error; it returns null and says why only here.
class Log final : public nvinfer1::ILogger {
  public:
    void log(Severity severity, const nvinfer1::AsciiChar* text) noexcept override {
        if (severity > Severity::kERROR) {
            return;
        }
        try {
            const std::lock_guard lock(mutex_);
            said_ += std::string("\n") + text;
        } catch (...) {  // out of memory: then without this line
        }
    }

    // Everything since the last time.
    std::string take() {
        const std::lock_guard lock(mutex_);
        return std::exchange(said_, {});
    }

  private:
    std::mutex mutex_;
    std::string said_;
};

std::vector<std::string> versions() {
    const std::string three = std::to_string(getInferLibMajorVersion()) + "." +
                              std::to_string(getInferLibMinorVersion()) + "." +
                              std::to_string(getInferLibPatchVersion());
    return {three, three + "." + std::to_string(getInferLibBuildVersion())};
}

std::optional<DType> dtype_of(nvinfer1::DataType type) {
    switch (type) {
        case nvinfer1::DataType::kFLOAT:
            return DType::float32;
        case nvinfer1::DataType::kHALF:
            return DType::float16;
        case nvinfer1::DataType::kINT8:
            return DType::int8;
        case nvinfer1::DataType::kUINT8:
            return DType::uint8;
        case nvinfer1::DataType::kINT32:
            return DType::int32;
        case nvinfer1::DataType::kINT64:
            return DType::int64;
        case nvinfer1::DataType::kBOOL:
            return DType::boolean;
        default:
            return std::nullopt;
    }
}

Shape shape_of(const nvinfer1::Dims& dims) { return {dims.d, dims.d + std::max(dims.nbDims, 0)}; }

nvinfer1::Dims dims_of(const Shape& shape) {
    nvinfer1::Dims dims{};
    dims.nbDims = static_cast<std::int32_t>(std::min<std::size_t>(shape.size(), nvinfer1::Dims::MAX_DIMS));
    std::transform(shape.begin(), shape.begin() + dims.nbDims, dims.d,
                   [](std::int64_t size) { return static_cast<std::decay_t<decltype(dims.d[0])>>(size); });
    return dims;
}

class TensorRt final : public Backend {
  public:
    explicit TensorRt(Model model) : manifest_(std::move(model.manifest)) {
        if (model.options.threads) {
            throw InputError("threads is " + std::to_string(*model.options.threads), "None: a GPU does the work", "",
                             "leave it away");
        }
        if (tensorrt::options_from_manifest(manifest_).strip_weights) {
            throw MissingError("the plan of this bundle holds no weights", "a plan with its weights",
                               "it was exported with --strip-weights, which the Python runtime loads",
                               "export without --strip-weights");
        }
        gpu_ = tensorrt::gpu_at(tensorrt::index_of(model.options.device.value_or("GPU")));
        load(tensorrt::plan_for(manifest_, model.files, machine()));
    }

    ~TensorRt() override {
        cudaSetDevice(gpu_.index);
        if (stream_) {
            cudaStreamSynchronize(stream_.get());
        }
    }

    BatchLimits batch_limits() const override { return limits_; }

    Tensors infer(const Tensors& inputs) override {
        const tensorrt::Current current(gpu_.index);
        const std::size_t images = batch_of(inputs);
        for (const TensorSpec& spec : manifest_.graph_inputs) {
            const Tensor& tensor = inputs.at(spec.name);
            said(context_->setInputShape(spec.name.c_str(), dims_of(tensor.shape())), "take the shape of an input");
            tensorrt::check(cudaMemcpyAsync(memory_.at(spec.name).get(), tensor.data(), tensor.bytes(),
                                            cudaMemcpyHostToDevice, stream_.get()),
                            "cudaMemcpyAsync");
        }
        said(context_->enqueueV3(stream_.get()), "run the plan");
        Tensors outputs;
        for (const TensorSpec& spec : manifest_.graph_outputs) {
            NewTensor result(spec.dtype, shape_for(spec, images));
            tensorrt::check(cudaMemcpyAsync(result.data(), memory_.at(spec.name).get(), result.bytes(),
                                            cudaMemcpyDeviceToHost, stream_.get()),
                            "cudaMemcpyAsync");
            outputs.emplace(spec.name, result.tensor());
        }
        tensorrt::check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
        return outputs;
    }

    std::map<std::string, std::string> describe() const override {
        return {{"backend", target},
                {"version", versions().front()},
                {"device", gpu_.name + " (compute capability " + gpu_.compute_capability + ")"},
                {"precision", manifest_.precision}};
    }

  private:
    tensorrt::Machine machine() const {
        tensorrt::Machine here{python_module, versions(), {}, {}, tensorrt::this_system()};
        if (!compiled_on_the_device) {
            here.gpu = gpu_.name;
            here.compute_capability = gpu_.compute_capability;
        }
        return here;
    }

    void load(const VerifiedFile& plan) {
        const tensorrt::Current current(gpu_.index);
        runtime_.reset(nvinfer1::createInferRuntime(log_));
        said(runtime_ != nullptr, "start");
        engine_.reset(runtime_->deserializeCudaEngine(plan.data.get(), plan.size));
        said(engine_ != nullptr, "load the plan");
        check_ports();
        limits_ = profile();
        context_.reset(engine_->createExecutionContext());
        said(context_ != nullptr, "make an execution context");
        stream_ = tensorrt::new_stream();
        take_memory(manifest_.graph_inputs);
        take_memory(manifest_.graph_outputs);
    }

    // Null and false are all that TensorRT returns where it fails.
    void said(bool worked, const char* what) {
        const std::string lines = log_.take();
        if (worked) {
            return;
        }
        const std::string found = std::string(python_module) + " " + versions().front() + " could not " + what +
                                  " on " + gpu_.name + " (compute capability " + gpu_.compute_capability +
                                  "). It said:" + (lines.empty() ? "\nnothing: its log is empty" : lines);
        if (lines.find("does not support this compute capability") != std::string::npos) {
            throw MissingError(found, "",
                               "this TensorRT has no kernels for this GPU, whoever builds the plan; TensorRT-RTX is for "
                               "GPUs of PCs",
                               "export with --to tensorrt for this GPU; or another GPU");
        }
        throw BuildError(found, "", "", "hamsa-build --rebuild BUNDLE on this device");
    }

    void check_ports() const {
        std::vector<std::vector<std::string>> inputs;
        std::vector<std::vector<std::string>> outputs;
        for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
            const char* name = engine_->getIOTensorName(i);
            const bool is_input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
            (is_input ? inputs : outputs).push_back({name});
        }
        check_port_names("inputs", manifest_.graph_inputs, inputs);
        check_port_names("outputs", manifest_.graph_outputs, outputs);
        for (const auto* specs : {&manifest_.graph_inputs, &manifest_.graph_outputs}) {
            std::for_each(specs->begin(), specs->end(), [this](const TensorSpec& spec) { check_port(spec); });
        }
    }

    void check_port(const TensorSpec& spec) const {
        const auto dtype = dtype_of(engine_->getTensorDataType(spec.name.c_str()));
        const Shape shape = shape_of(engine_->getTensorShape(spec.name.c_str()));
        Shape wanted = spec.shape;
        std::replace(wanted.begin(), wanted.end(), any_size, batch);  // TensorRT writes -1 for both
        if (dtype != spec.dtype || shape != wanted) {
            throw BuildError(repr(spec.name) + " of the plan is " + (dtype ? name_of(*dtype) : "of another type") +
                                 " " + shown(shape),
                             std::string(name_of(spec.dtype)) + " " + shown(spec.shape) + ", as the manifest says",
                             "a plan of another model", "hamsa-build --rebuild BUNDLE");
        }
    }

    // Smallest and largest batch of the optimisation profile; none for a model with a fixed one.
    BatchLimits profile() const {
        BatchLimits limits;
        for (const TensorSpec& spec : manifest_.graph_inputs) {
            const auto axis = std::find(spec.shape.begin(), spec.shape.end(), batch) - spec.shape.begin();
            if (axis == static_cast<std::ptrdiff_t>(spec.shape.size())) {
                continue;
            }
            const auto size = [&](nvinfer1::OptProfileSelector which) {
                return static_cast<std::size_t>(engine_->getProfileShape(spec.name.c_str(), 0, which).d[axis]);
            };
            const std::size_t low = size(nvinfer1::OptProfileSelector::kMIN);
            const std::size_t high = size(nvinfer1::OptProfileSelector::kMAX);
            limits = limits ? std::pair(std::max(limits->first, low), std::min(limits->second, high))
                            : std::pair(low, high);
        }
        if (limits && limits->first > limits->second) {
            throw BuildError("the plan takes batches of at least " + std::to_string(limits->first) +
                                 " and at most " + std::to_string(limits->second),
                             "", "", "hamsa-build --rebuild BUNDLE");
        }
        return limits;
    }

    static Shape shape_for(const TensorSpec& spec, std::size_t images) {
        Shape shape = spec.shape;
        for (std::size_t i = 0; i < shape.size(); ++i) {
            if (shape[i] < 0) {
                shape[i] = rows_of(spec, i) * static_cast<std::int64_t>(images);
            }
        }
        return shape;
    }

    // 4 for "4*batch", and 1 for "batch": bundles for TensorRT have no other axes.
    static std::int64_t rows_of(const TensorSpec& spec, std::size_t axis) {
        const std::string& text = spec.axes.at(axis);
        const auto times = text.find('*');
        const std::string factor = times == std::string::npos ? "1" : text.substr(0, times);
        const bool is_number = factor.size() < 10 && std::all_of(factor.begin(), factor.end(), [](char c) {
            return c >= '0' && c <= '9';
        });
        if (text.substr(times == std::string::npos ? 0 : times + 1) != "batch" || factor.empty() || !is_number) {
            throw BuildError("an axis " + repr(text), "batch, or a number times that, in bundles for TensorRT");
        }
        return std::stoll(factor);
    }

    // Taken once, for the largest batch.
    void take_memory(const std::vector<TensorSpec>& specs) {
        for (const TensorSpec& spec : specs) {
            const Shape largest = shape_for(spec, limits_ ? limits_->second : 1);
            tensorrt::Memory memory = tensorrt::memory_of(count_of(largest, spec.dtype) * size_of(spec.dtype));
            said(context_->setTensorAddress(spec.name.c_str(), memory.get()), "take the memory for a tensor");
            memory_.emplace(spec.name, std::move(memory));
        }
    }

    std::size_t batch_of(const Tensors& inputs) const {
        std::optional<std::size_t> images;
        for (const TensorSpec& spec : manifest_.graph_inputs) {
            const auto axis = std::find(spec.shape.begin(), spec.shape.end(), batch) - spec.shape.begin();
            if (axis == static_cast<std::ptrdiff_t>(spec.shape.size())) {
                continue;
            }
            const auto size = static_cast<std::size_t>(inputs.at(spec.name).shape().at(static_cast<std::size_t>(axis)));
            const bool fits = limits_ && size >= limits_->first && size <= limits_->second;
            if (!fits || images.value_or(size) != size) {
                throw InputError("a batch of " + std::to_string(size),
                                 "the same for all inputs, and one that the plan was built for");
            }
            images = size;
        }
        return images.value_or(1);
    }

    // In this order: the context is freed before its memory, engine and runtime, and these before the log.
    Manifest manifest_;
    tensorrt::Gpu gpu_;
    BatchLimits limits_;
    Log log_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    tensorrt::Stream stream_;
    std::map<std::string, tensorrt::Memory> memory_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

}  // namespace

std::unique_ptr<Backend> make_tensorrt(Model model) { return std::make_unique<TensorRt>(std::move(model)); }

}  // namespace hamsa
