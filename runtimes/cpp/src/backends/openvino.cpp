// OpenVINO: Intel CPUs, GPUs and NPUs, ARM CPUs. Runs IR (model.xml, model.bin) and ONNX bundles.
//
// The precision is always set and read back. Left alone, the CPU plugin runs a float32 model in bfloat16 on any
// processor that has AMX or AVX512-BF16. A float16 model says itself what is float16 and what has to stay float32:
// "dynamic" makes the plugin follow it. AUTO and HETERO hand on what is asked for, and do not say so: it is read from the
// layers. See the Python runtime's backends/openvino.py for the measurements.
#include <algorithm>
#include <iterator>
#include <limits>
#include <openvino/openvino.hpp>
#include <openvino/runtime/auto/properties.hpp>
#include <utility>

#include "arrays.hpp"
#include "backends/backend.hpp"
#include "backends/openvino_bounds.hpp"
#include "devices.hpp"
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

const Precision precisions[] = {
    {"fp32", ov::element::f32, "f32", "FP32"},
    {"fp16", ov::element::dynamic, "f16", "FP16"},
    {"bf16", ov::element::bf16, "bf16", "BF16"},
    {"int8", ov::element::f32, "f32", "INT8"},
};

const Precision& precision_of(const std::string& bundle) {
    const auto* row = std::find_if(std::begin(precisions), std::end(precisions),
                                   [&](const auto& r) { return r.bundle == bundle; });
    if (row == std::end(precisions)) {
        throw MissingError("OpenVINO cannot run " + bundle, "one of fp32, fp16, bf16, int8");
    }
    return *row;
}

std::string before_dot(const std::string& device) { return device.substr(0, device.find('.')); }

constexpr const char* npu = "NPU";

// The names that are asked for, which have to be here; with AUTO alone, all that are.
std::vector<DeviceName> names_here(ov::Core& core, const Device& asked) {
    const std::vector<std::string> available = core.get_available_devices();
    for (const DeviceName& name : asked.names) {
        const std::string text = name.text();
        const auto same = [&](const std::string& each) { return each == text || before_dot(each) == text; };
        if (std::none_of(available.begin(), available.end(), same)) {
            const bool is_known = name.kind == "GPU" || name.kind == npu;
            std::vector<std::string> valid = available;
            valid.insert(valid.end(), {"GPU", npu});
            throw MissingError("OpenVINO has no device " + repr(text) + " here", "one of " + joined(available),
                               is_known ? "OpenVINO finds no " + name.kind + ", or no driver for it"
                                        : "OpenVINO calls none so",
                               is_known ? "" : nearest(text, valid));
        }
    }
    if (!asked.names.empty()) {
        return asked.names;
    }
    std::vector<DeviceName> all;
    std::transform(available.begin(), available.end(), std::back_inserter(all),
                   [](const std::string& each) { return device_from(each).names[0]; });
    return all;
}

bool has_capability(const std::vector<std::string>& capabilities, const Precision& precision) {
    return std::find(capabilities.begin(), capabilities.end(), precision.capability) != capabilities.end();
}

[[noreturn]] void cannot_run(ov::Core& core, const std::string& device, const Precision& precision) {
    const auto capabilities = core.get_property(device, ov::device::capabilities);
    std::vector<std::string> others;
    for (const Precision& each : precisions) {
        if (has_capability(capabilities, each)) {
            others.push_back(std::string("--") + each.bundle);
        }
    }
    throw MissingError(
        device + " (" + core.get_property(device, ov::device::full_name) + ") cannot run " + precision.bundle,
        std::string("a device with ") + precision.capability + "; this one has " + joined(capabilities), "",
        others.empty() ? "" : "export with " + joined(others, " or "));
}

// Those of the names that can run the precision; one of all is enough where nobody named any.
std::vector<DeviceName> able_names(ov::Core& core, const Device& asked, const std::vector<DeviceName>& names,
                                   const Precision& precision) {
    std::vector<DeviceName> able;
    std::vector<std::string> unable;
    for (const DeviceName& name : names) {
        if (has_capability(core.get_property(name.text(), ov::device::capabilities), precision)) {
            able.push_back(name);
        } else {
            unable.push_back(name.text());
        }
    }
    if (!unable.empty() && (!asked.names.empty() || able.empty())) {
        cannot_run(core, unable[0], precision);
    }
    return able;
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
    explicit OpenVino(Model model)
        : model_(std::move(model)), asked_(device_from(model_.options.device.value_or("CPU"))) {
        if (model_.manifest.has_native_transforms) {
            throw MissingError("OpenVINO reads the operator DFT wrongly, which this bundle holds",
                               "transforms that are products", "the bundle was exported with --fft native",
                               "a bundle exported without --fft native");
        }
        precision_ = &precision_of(model_.manifest.around);
        names_ = able_names(core_, asked_, names_here(core_, asked_), precision_of(model_.manifest.precision));
        names_ = able_names(core_, asked_, names_, *precision_);
        device_ = runs_on_ = Device{asked_.choice, names_}.text();
        // An NPU computes in float16 whatever the model says.
        const auto is_npu = [](const DeviceName& name) { return name.kind == npu; };
        hint_ = std::all_of(names_.begin(), names_.end(), is_npu) ? ov::element::f16 : precision_->hint;
        check_threads();
        try {
            graph_ = read();
            check_inputs();
            // The CPU plugin runs a model of known shapes faster than one with a dynamic batch, and one image at a time
            // is what devices do most: this case has a compiled model of its own.
            const std::shared_ptr<ov::Model> single = with_batch_of_one();
            check_size(*single);
            compiled_ = compile(single);
            single_ = compiled_.create_infer_request();
            if (asked_.choice == Device::Choice::any) {  // other batches run on what it has chosen as well
                runs_on_ = running_on().at(0);
            }
            if (asked_.choice == Device::Choice::split) {
                nodes_ = nodes_by_device(*single);
            }
        } catch (const ov::Exception& error) {
            throw BuildError(model_.folder.string() + ": OpenVINO cannot load this model on " + device_ + "\n" +
                             error.what());
        }
        check_granted();
        check_port_names("outputs", model_.manifest.graph_outputs, names_of(compiled_.outputs()));
        find_narrowed();
    }

    // A plugin for NPUs compiles models of known shapes only.
    BatchLimits batch_limits() const override {
        const auto is_npu = [](const DeviceName& name) { return name.kind == npu; };
        return std::any_of(names_.begin(), names_.end(), is_npu) ? BatchLimits({1, 1}) : std::nullopt;
    }

    Tensors infer(const Tensors& inputs) override {
        for (const std::string& name : narrowed_) {
            check_whole_numbers(name, inputs.at(name));
        }
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
        std::map<std::string, std::string> facts{{"backend", "openvino"},
                                                 {"version", ov::get_openvino_version().buildNumber},
                                                 {"device", device_},
                                                 {"precision", precision_->layers}};
        if (asked_.choice == Device::Choice::any) {
            facts["device"] = joined(running_on());
            facts["chosen_by"] = device_;
        }
        for (const auto& [what, counted] : {std::pair{"nodes", nodes_}, std::pair{"layers", layers()}}) {
            if (!counted.empty()) {
                facts[what] = counts_text(counted);
            }
        }
        return facts;
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

    // The inputs of int64 that are computed with as they are, and not as floats: the plugins have int32 in its place,
    // and make another number of one that does not fit.
    void find_narrowed() {
        const auto makes_floats = [](const ov::Input<ov::Node>& use) {
            const ov::Node& node = *use.get_node();
            return std::string(node.get_type_name()) == "Convert" && node.get_output_element_type(0).is_real();
        };
        for (const TensorSpec& spec : model_.manifest.graph_inputs) {
            const auto uses = graph_->input(spec.name).get_target_inputs();
            if (spec.dtype == DType::int64 && !std::all_of(uses.begin(), uses.end(), makes_floats)) {
                narrowed_.push_back(spec.name);
            }
        }
    }

    static void check_whole_numbers(const std::string& name, const Tensor& tensor) {
        const auto* values = tensor.as<std::int64_t>();
        const auto* end = values + tensor.count();
        constexpr std::int64_t low = std::numeric_limits<std::int32_t>::min();
        constexpr std::int64_t high = std::numeric_limits<std::int32_t>::max();
        const auto* beyond = std::find_if(values, end, [](std::int64_t each) { return each < low || each > high; });
        if (beyond != end) {
            throw InputError("the input '" + name + "' holds " + std::to_string(*beyond),
                             "numbers from " + std::to_string(low) + " to " + std::to_string(high),
                             "OpenVINO computes int64 in 32 bits",
                             "smaller numbers; or a bundle for onnx, whose engine has 64");
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

    void check_threads() const {
        const auto is_cpu = [](const DeviceName& name) { return name.kind == "CPU"; };
        if (model_.options.threads && std::none_of(names_.begin(), names_.end(), is_cpu)) {
            throw InputError("threads is " + std::to_string(*model_.options.threads),
                             "none: " + device_ + " does the work", "", "leave it away");
        }
    }

    ov::CompiledModel compile(const std::shared_ptr<ov::Model>& graph) {
        ov::AnyMap options{ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                           ov::hint::inference_precision(hint_)};
        if (model_.options.threads && runs_on_.find("CPU") != std::string::npos) {
            options.insert(ov::inference_num_threads(*model_.options.threads));
        }
        if (runs_on_ == device_ && asked_.choice == Device::Choice::any) {  // one engine, one answer
            options.insert(ov::intel_auto::enable_startup_fallback(false));
        }
        return core_.compile_model(graph, runs_on_, options);
    }

    std::vector<std::string> running_on() const { return compiled_.get_property(ov::execution_devices); }

    // How many nodes of a split model each device is given, without inputs, outputs and constants.
    std::map<std::string, std::size_t> nodes_by_device(const ov::Model& graph) {
        std::map<std::string, std::size_t> counts;
        const ov::SupportedOpsMap split = core_.query_model(graph.clone(), device_);
        for (const auto& node : graph.get_ordered_ops()) {
            const std::string kind = node->get_type_name();
            const auto found = split.find(node->get_friendly_name());
            if (found != split.end() && kind != "Parameter" && kind != "Result" && kind != "Constant") {
                ++counts[found->second];
            }
        }
        return counts;
    }

    // "273 f32, 2 u8": the most first.
    static std::string counts_text(const std::map<std::string, std::size_t>& found) {
        std::vector<std::pair<std::size_t, std::string>> counts;
        for (const auto& [name, count] : found) {
            counts.emplace_back(count, name);
        }
        std::sort(counts.rbegin(), counts.rend());
        std::vector<std::string> shown;
        for (const auto& [count, name] : counts) {
            shown.push_back(std::to_string(count) + " " + name);
        }
        return joined(shown);
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

    // How many layers run in which precision, by the plugin's own word, without inputs, outputs and constants; nothing
    // where the plugin does not tell.
    std::map<std::string, std::size_t> layers() const {
        std::map<std::string, std::size_t> counts;
        try {
            for (const auto& node : compiled_.get_runtime_model()->get_ordered_ops()) {
                const auto& row = node->get_rt_info();
                const auto kind = row.at("layerType").as<std::string>();
                if (kind != "Input" && kind != "Output" && kind != "Const") {
                    ++counts[row.at("runtimePrecision").as<std::string>()];
                }
            }
        } catch (const ov::Exception&) {
            counts.clear();
        }
        return counts;
    }

    // Fails if the plugin settled for another precision or device than the one asked for.
    void check_granted() const {
        const std::vector<std::string> devices = running_on();
        const std::map<std::string, std::size_t> found = layers();
        const bool is_lower = precision_->layers != std::string("f32");
        // AUTO and HETERO do not know what they have handed on.
        ov::element::Type hint = ov::element::dynamic;
        bool right_type = is_lower ? found.count(precision_->layers) != 0 : !found.count("f16") && !found.count("bf16");
        if (asked_.choice == Device::Choice::none) {
            hint = compiled_.get_property(ov::hint::inference_precision);
            right_type = hint == hint_ && (hint_ != ov::element::dynamic || found.count(precision_->layers) != 0);
        }
        const auto is_asked = [&](const std::string& each) {
            return std::any_of(names_.begin(), names_.end(),
                               [&](const DeviceName& name) { return name.kind == before_dot(each); });
        };
        if (right_type && std::all_of(devices.begin(), devices.end(), is_asked)) {
            return;
        }
        std::vector<std::string> types{hint.get_type_name()};
        if (hint == ov::element::dynamic) {
            types.clear();
            for (const auto& [name, count] : found) {
                types.push_back(name);
            }
        }
        throw MissingError("OpenVINO would run in " + joined(types) + " on " + joined(devices),
                           std::string(precision_->layers) + " on " + device_, "",
                           "export for a precision that this device has");
    }

    // In this order: requests are freed before their models, and the verified weights, which these share, last.
    Model model_;
    Device asked_;
    std::vector<DeviceName> names_;
    // As it was asked for, and what a model is compiled for: with AUTO, once it has chosen, that device.
    std::string device_, runs_on_;
    const Precision* precision_ = nullptr;
    ov::element::Type hint_;
    std::map<std::string, std::size_t> nodes_;
    ov::Core core_;
    std::shared_ptr<ov::Model> graph_;
    ov::CompiledModel compiled_;
    ov::InferRequest single_, any_batch_;
    std::vector<std::string> narrowed_;
};

}  // namespace

std::unique_ptr<Backend> make_openvino(Model model) { return std::make_unique<OpenVino>(std::move(model)); }

}  // namespace hamsa
