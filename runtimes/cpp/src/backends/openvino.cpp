// OpenVINO: Intel CPUs and GPUs, ARM CPUs. Runs IR (model.xml, model.bin) and ONNX bundles.
//
// The precision is always set and read back. Left alone, the CPU plugin runs a float32 model in bfloat16 on any
// processor that has AMX or AVX512-BF16. A float16 model says itself what is float16 and what has to stay float32:
// "dynamic" makes the plugin follow it. See the Python runtime's backends/openvino.py for the measurements.
#include <algorithm>
#include <openvino/openvino.hpp>
#include <utility>

#include "arrays.hpp"
#include "backends/backend.hpp"
#include "backends/openvino_bounds.hpp"
#include "named_files.hpp"
#include "names.hpp"

namespace hamsa {
namespace {

// The execution precision to ask for, what layers then run in, and the capability that the device must report.
struct Precision {
    const char* bundle;
    ov::element::Type hint;
    const char* layers;
    const char* capability;
};

const Precision& precision_of(const std::string& bundle) {
    static const Precision table[] = {
        {"fp32", ov::element::f32, "f32", "FP32"},
        {"fp16", ov::element::dynamic, "f16", "FP16"},
        {"bf16", ov::element::bf16, "bf16", "BF16"},
        {"int8", ov::element::f32, "f32", "INT8"},
    };
    const auto* row =
        std::find_if(std::begin(table), std::end(table), [&](const auto& r) { return r.bundle == bundle; });
    if (row == std::end(table)) {
        throw MissingError("OpenVINO cannot run " + bundle, "one of fp32, fp16, bf16, int8");
    }
    return *row;
}

std::string before_dot(const std::string& device) { return device.substr(0, device.find('.')); }

// Only devices that are here: no AUTO, MULTI or HETERO, which choose another one silently.
void check_device(ov::Core& core, const std::string& device) {
    const std::vector<std::string> available = core.get_available_devices();
    const auto same = [&](const std::string& each) { return each == device || before_dot(each) == device; };
    if (std::none_of(available.begin(), available.end(), same)) {
        throw MissingError("OpenVINO has no device " + repr(device) + " here", "one of " + joined(available),
                           "another name, or the device's driver is not installed", nearest(device, available));
    }
}

void check_capability(ov::Core& core, const std::string& device, const Precision& precision) {
    const auto capabilities = core.get_property(device, ov::device::capabilities);
    if (std::find(capabilities.begin(), capabilities.end(), precision.capability) == capabilities.end()) {
        const auto name = core.get_property(device, ov::device::full_name);
        throw MissingError(
            device + " (" + name + ") cannot run " + precision.bundle,
            std::string("a device with ") + precision.capability + "; this one has " + joined(capabilities), "",
            "export with --fp32");
    }
}

ov::element::Type element_of(DType dtype) {
    switch (dtype) {
        case DType::boolean:
            return ov::element::boolean;
        case DType::uint8:
            return ov::element::u8;
        case DType::int8:
            return ov::element::i8;
        case DType::int32:
            return ov::element::i32;
        case DType::int64:
            return ov::element::i64;
        case DType::float16:
            return ov::element::f16;
        case DType::float32:
            return ov::element::f32;
        case DType::float64:
            return ov::element::f64;
    }
    throw Error("a dtype without a name");
}

std::optional<DType> dtype_of(const ov::element::Type& element) {
    for (const DType dtype : {DType::boolean, DType::uint8, DType::int8, DType::int32, DType::int64, DType::float16,
                              DType::float32, DType::float64}) {
        if (element_of(dtype) == element) {
            return dtype;
        }
    }
    return std::nullopt;
}

std::vector<std::vector<std::string>> names_of(const std::vector<ov::Output<const ov::Node>>& ports) {
    std::vector<std::vector<std::string>> names;
    for (const auto& port : ports) {
        const auto& found = port.get_names();
        names.emplace_back(found.begin(), found.end());
        std::sort(names.back().begin(), names.back().end());
    }
    return names;
}

// The caller's memory, which the engine reads and does not copy.
ov::Tensor wrapped(const Tensor& tensor) {
    ov::Shape shape(tensor.shape().begin(), tensor.shape().end());
    return ov::Tensor(element_of(tensor.dtype()), shape, const_cast<void*>(tensor.data()));  // inputs are only read
}

Tensor copied(const ov::Tensor& found, const std::string& name) {
    const auto dtype = dtype_of(found.get_element_type());
    if (!dtype) {
        throw BuildError(
            "the engine returned " + found.get_element_type().to_string() + " for the output " + repr(name),
            "a dtype that a manifest may have");
    }
    // A copy: what this refers to changes with the next question.
    const ov::Shape sizes = found.get_shape();  // NOLINT(performance-unnecessary-copy-initialization)
    NewTensor memory(*dtype, Shape(sizes.begin(), sizes.end()));
    std::copy_n(static_cast<const std::byte*>(found.data()), memory.bytes(), memory.data());
    return memory.tensor();
}

class OpenVino final : public Backend {
  public:
    explicit OpenVino(Model model) : model_(std::move(model)), device_(model_.options.device.value_or("CPU")) {
        if (model_.manifest.has_native_transforms) {
            throw MissingError("OpenVINO reads the operator DFT wrongly, which this bundle holds",
                               "transforms that are products", "the bundle was exported with --fft native",
                               "a bundle exported without --fft native");
        }
        check_device(core_, device_);
        precision_ = &precision_of(model_.manifest.precision);
        check_capability(core_, device_, *precision_);
        try {
            graph_ = read();
            check_inputs();
            // The CPU plugin runs a model of known shapes faster than one with a dynamic batch, and one image at a time
            // is what devices do most: this case has a compiled model of its own.
            const std::shared_ptr<ov::Model> single = with_batch_of_one();
            check_size(*single);
            compiled_ = compile(single);
            single_ = compiled_.create_infer_request();
        } catch (const ov::Exception& error) {
            throw BuildError(model_.folder.string() + ": OpenVINO cannot load this model on " + device_ + "\n" +
                             error.what());
        }
        check_granted();
        check_port_names("outputs", model_.manifest.graph_outputs, names_of(compiled_.outputs()));
    }

    Tensors infer(const Tensors& inputs) override {
        try {
            ov::InferRequest& request = is_single(inputs) ? single_ : any_batch();
            for (const auto& [name, tensor] : inputs) {
                request.set_tensor(name, wrapped(tensor));
            }
            request.infer();
            Tensors outputs;
            for (const TensorSpec& spec : model_.manifest.graph_outputs) {
                outputs.emplace(spec.name, copied(request.get_tensor(spec.name), spec.name));
            }
            return outputs;
        } catch (const ov::Exception& error) {
            throw BuildError(std::string("OpenVINO failed to run the model\n") + error.what());
        }
    }

    std::map<std::string, std::string> describe() const override {
        std::vector<std::pair<std::size_t, std::string>> counts;
        for (const auto& [name, count] : layers()) {
            counts.emplace_back(count, name);
        }
        std::sort(counts.rbegin(), counts.rend());
        std::vector<std::string> shown;
        for (const auto& [count, name] : counts) {
            shown.push_back(std::to_string(count) + " " + name);
        }
        return {{"backend", "openvino"},
                {"version", ov::get_openvino_version().buildNumber},
                {"device", device_},
                {"precision", precision_->layers},
                {"layers", joined(shown)}};
    }

  private:
    const VerifiedFile& file(const std::string& name) const {
        const auto found = model_.files.find(name);
        if (found == model_.files.end()) {
            throw InputError(model_.folder.string() + ": no " + name + " among the files of this bundle",
                             name + ", as bundles for " + model_.manifest.target + " have");
        }
        return found->second;
    }

    // From memory that was verified, also weights in files of their own.
    std::shared_ptr<ov::Model> read() {
        if (model_.manifest.target == "openvino") {
            const VerifiedFile& weights = file("model.bin");
            auto* data = const_cast<std::byte*>(weights.data.get());  // weights are only read
            return core_.read_model(std::string(file(ir_file).text()),
                                    ov::Tensor(ov::element::u8, {weights.size}, data));
        }
        const std::string_view onnx = file(onnx_file).text();
        const auto bytes_of = [&](const std::string& name) { return file(name).text(); };
        const bool is_whole = locations_in_onnx(onnx).empty();
        return core_.read_model(is_whole ? std::string(onnx) : onnx_with_addresses(onnx, bytes_of), ov::Tensor());
    }

    void check_inputs() const {
        check_port_names("inputs", model_.manifest.graph_inputs, names_of(std::as_const(*graph_).inputs()));
        for (const TensorSpec& spec : model_.manifest.graph_inputs) {
            const auto port = std::as_const(*graph_).input(spec.name);
            const ov::PartialShape& sizes = port.get_partial_shape();
            std::optional<Shape> shape;
            if (sizes.rank().is_static()) {
                shape.emplace();
                for (const ov::Dimension& size : sizes) {
                    shape->push_back(size.is_static() ? size.get_length() : any_size);
                }
            }
            check_port(spec, dtype_of(port.get_element_type()), shape);
        }
    }

    void check_size(const ov::Model& graph) const {
        std::uint64_t bytes = 0;
        for (const auto& [name, entry] : model_.manifest.files) {
            bytes += entry.bytes;
        }
        try {
            check_bounds(graph, bytes);
        } catch (const InputError& error) {
            const char* name = model_.manifest.target == "openvino" ? ir_file : onnx_file;
            throw InputError((model_.folder / name).string() + ": " + error.found(), error.expected(), error.cause(),
                             error.fix());
        }
    }

    ov::CompiledModel compile(const std::shared_ptr<ov::Model>& graph) {
        ov::AnyMap options{ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                           ov::hint::inference_precision(precision_->hint)};
        if (model_.options.threads && device_ == "CPU") {
            options.insert(ov::inference_num_threads(*model_.options.threads));
        }
        return core_.compile_model(graph, device_, options);
    }

    std::shared_ptr<ov::Model> with_batch_of_one() const {
        std::shared_ptr<ov::Model> graph = graph_->clone();
        std::map<std::string, ov::PartialShape> shapes;
        bool dynamic = false;
        for (const TensorSpec& spec : model_.manifest.graph_inputs) {
            ov::PartialShape shape;
            for (const std::int64_t size : spec.shape) {
                dynamic = dynamic || size == batch;
                shape.push_back(size == any_size ? ov::Dimension::dynamic() : ov::Dimension(size == batch ? 1 : size));
            }
            shapes[spec.name] = shape;
        }
        if (dynamic) {
            graph->reshape(shapes);
        }
        return graph;
    }

    bool is_single(const Tensors& inputs) const {
        const auto& specs = model_.manifest.inputs;
        return std::all_of(specs.begin(), specs.end(), [&](const TensorSpec& spec) {
            const auto axis = std::find(spec.shape.begin(), spec.shape.end(), batch) - spec.shape.begin();
            const Shape& shape = inputs.at(spec.name).shape();
            return axis == static_cast<std::ptrdiff_t>(spec.shape.size()) || shape[static_cast<std::size_t>(axis)] == 1;
        });
    }

    ov::InferRequest& any_batch() {
        if (!any_batch_) {
            any_batch_ = compile(graph_).create_infer_request();
        }
        return any_batch_;
    }

    // How many layers run in which precision, by the plugin's own word, without inputs, outputs and constants.
    std::map<std::string, std::size_t> layers() const {
        std::map<std::string, std::size_t> counts;
        for (const auto& node : compiled_.get_runtime_model()->get_ordered_ops()) {
            const auto& row = node->get_rt_info();
            const auto kind = row.at("layerType").as<std::string>();
            if (kind != "Input" && kind != "Output" && kind != "Const") {
                ++counts[row.at("runtimePrecision").as<std::string>()];
            }
        }
        return counts;
    }

    // Fails if the plugin settled for another precision or device than the one asked for.
    void check_granted() const {
        const ov::element::Type hint = compiled_.get_property(ov::hint::inference_precision);
        const std::vector<std::string> devices = compiled_.get_property(ov::execution_devices);
        const bool follows_graph = precision_->hint == ov::element::dynamic;
        const bool right_type = hint == precision_->hint && (!follows_graph || layers().count(precision_->layers) != 0);
        const bool right_device = devices.size() == 1 && before_dot(devices[0]) == before_dot(device_);
        if (right_type && right_device) {
            return;
        }
        std::vector<std::string> found{hint.get_type_name()};
        if (hint == ov::element::dynamic) {
            found.clear();
            for (const auto& [name, count] : layers()) {
                found.push_back(name);
            }
        }
        throw MissingError("OpenVINO would run in " + joined(found) + " on " + joined(devices),
                           std::string(precision_->layers) + " on " + device_, "",
                           "export for a precision that this device has");
    }

    // In this order: requests are freed before their models, and the verified weights, which these share, last.
    Model model_;
    std::string device_;
    const Precision* precision_ = nullptr;
    ov::Core core_;
    std::shared_ptr<ov::Model> graph_;
    ov::CompiledModel compiled_;
    ov::InferRequest single_, any_batch_;
};

}  // namespace

std::unique_ptr<Backend> make_openvino(Model model) { return std::make_unique<OpenVino>(std::move(model)); }

}  // namespace hamsa
