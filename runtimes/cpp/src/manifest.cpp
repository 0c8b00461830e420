#include "manifest.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "arrays.hpp"
#include "hamsa/error.hpp"
#include "json_document.hpp"
#include "manifest_schema.hpp"
#include "names.hpp"
#include "schema.hpp"

namespace hamsa {
namespace {

using Json = nlohmann::json;

Shape shape_of(const Json& sizes) {
    Shape shape;
    for (const Json& size : sizes) {
        shape.push_back(!size.is_string() ? size.get<std::int64_t>() : size == "batch" ? batch : any_size);
    }
    return shape;
}

std::vector<std::string> axes_of(const Json& sizes) {
    std::vector<std::string> axes;
    for (const Json& size : sizes) {
        axes.push_back(size.is_string() ? size.get<std::string>() : "");
    }
    return axes;
}

std::optional<std::size_t> batch_axis_of(const Json& row) {
    if (!row.contains("batch_axis")) {
        return 0;
    }
    return row["batch_axis"].is_null() ? std::nullopt : std::optional(row["batch_axis"].get<std::size_t>());
}

TensorSpec spec_of(const Json& row) {
    const bool laid_out = row.contains("layout") && row["layout"].is_string();
    return {row["name"],
            dtype_named(row["dtype"]),
            shape_of(row["shape"]),
            laid_out ? row["layout"] : Json(""),
            axes_of(row["shape"]),
            batch_axis_of(row),
            row.value("is_complex", false)};
}

std::vector<TensorSpec> specs_of(const Json& rows) {
    std::vector<TensorSpec> specs;
    std::transform(rows.begin(), rows.end(), std::back_inserter(specs), spec_of);
    return specs;
}

std::optional<Preprocessing> preprocessing_of(const Json& row) {
    if (row.is_null()) {
        return std::nullopt;
    }
    Preprocessing how;
    how.height = row["size"][0];
    how.width = row["size"][1];
    how.channels = row["channels"];
    how.resize = row["resize"];
    how.crop_fraction = row["crop_fraction"];
    how.stretched = row.value("fit", "cover") == "stretch";
    how.mean = row["mean"].get<std::vector<double>>();
    how.std = row["std"].get<std::vector<double>>();
    how.normalised_in_graph = row["normalise"] == "graph";
    return how;
}

std::optional<Audio> audio_of(const Json& document) {
    if (!document.contains("audio") || document["audio"].is_null()) {
        return std::nullopt;
    }
    const Json& row = document["audio"];
    return Audio{row["input"], row["sample_rate"], row["channels"]};
}

std::optional<std::string> text_of(const Json& value) {
    return value.is_null() ? std::nullopt : std::optional(value.get<std::string>());
}

std::optional<EngineBuild> engine_of(const Json& document) {
    if (!document.contains("engine") || document["engine"].is_null()) {
        return std::nullopt;
    }
    const Json& row = document["engine"];
    EngineBuild engine{row["missing"], row["module"], row["version"], row["system"], {}, {}};
    engine.gpu = text_of(row["gpu"]);
    engine.compute_capability = text_of(row["compute_capability"]);
    return engine;
}

std::vector<Axis> free_axes_of(const Json& document) {
    std::vector<Axis> axes;
    for (const Json& row : document.value("axes", Json::array())) {
        const bool is_limited = !row["max"].is_null();
        const auto max = is_limited ? std::optional(row["max"].get<std::int64_t>()) : std::nullopt;
        axes.push_back({row["name"], row["min"], max});
    }
    return axes;
}

std::vector<KeptState> states_of(const Json& document) {
    std::vector<KeptState> states;
    for (const Json& row : document.value("states", Json::array())) {
        const auto file = "state_" + std::to_string(states.size()) + ".bin";
        states.push_back({row["name"], dtype_named(row["dtype"]), shape_of(row["shape"]), row["input"], row["output"],
                          row["stored"].get<bool>() ? std::optional(file) : std::nullopt});
    }
    return states;
}

Manifest manifest_of(const Json& document) {
    Manifest manifest;
    manifest.name = document["name"];
    manifest.inputs = specs_of(document["inputs"]);
    manifest.outputs = specs_of(document["outputs"]);
    manifest.states = states_of(document);
    manifest.graph_inputs = manifest.inputs;
    manifest.graph_outputs = manifest.outputs;
    for (const KeptState& state : manifest.states) {
        const std::vector<std::string> fixed(state.shape.size());
        manifest.graph_inputs.push_back({state.input, state.dtype, state.shape, "", fixed});
        manifest.graph_outputs.push_back({state.output, state.dtype, state.shape, "", fixed, std::nullopt});
    }
    manifest.axes = free_axes_of(document);
    manifest.preprocessing = preprocessing_of(document["preprocessing"]);
    manifest.audio = audio_of(document);
    if (!document["labels"].is_null()) {
        manifest.labels = document["labels"].get<std::vector<std::string>>();
    }
    manifest.target = document["target"];
    manifest.precision = document["precision"];
    const Json& calibration = document["calibration"];
    const bool says_around = calibration.is_object() && calibration.contains("around");
    manifest.around = says_around && !calibration["around"].is_null() ? calibration["around"] : document["precision"];
    for (const auto& item : document["files"].items()) {
        manifest.files[item.key()] = {item.value()["sha256"], item.value()["bytes"]};
    }
    manifest.options = document["options"].dump();
    manifest.engine = engine_of(document);
    const Json& plan = document["plan"];
    manifest.has_native_transforms =
        std::any_of(plan.begin(), plan.end(), [](const Json& row) { return row["kind"] == "native"; });
    return manifest;
}

void check_names(const char* where, const std::vector<TensorSpec>& specs) {
    std::set<std::string> once;
    std::vector<std::string> shown;
    for (const TensorSpec& spec : specs) {
        once.insert(spec.name);
        shown.push_back(repr(spec.name));
    }
    if (once.size() != specs.size()) {
        throw schema::rejected_text("[" + joined(shown) + "]", std::string(where) + ": names", "each of them once");
    }
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

// On macOS and Windows two names that differ only in case are one file, or one folder.
void check_files(const Manifest& manifest) {
    std::map<std::string, std::string> known;
    for (const char* name : own_files) {
        known.emplace(name, name);
    }
    for (const auto& [name, entry] : manifest.files) {
        for (std::size_t end = 0; end != std::string::npos;) {
            end = name.find('/', end + 1);
            const std::string path = name.substr(0, end);
            const std::string& other = known.emplace(lower(path), path).first->second;
            if (other != path) {
                throw schema::rejected_text("[" + repr(other) + ", " + repr(path) + "]", "files: names",
                                            "names that differ in more than upper and lower case");
            }
        }
    }
}

void check_states(const Manifest& manifest) {
    std::set<std::string> once;
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < manifest.states.size(); ++i) {
        once.insert(manifest.states[i].name);
        shown.push_back(repr(manifest.states[i].name));
    }
    if (once.size() != manifest.states.size()) {
        throw schema::rejected_text("[" + joined(shown) + "]", "states: names", "each of them once");
    }
    for (std::size_t i = 0; i < manifest.states.size(); ++i) {
        const KeptState& state = manifest.states[i];
        if (!state.stored) {
            continue;
        }
        const std::string where = "states[" + std::to_string(i) + "]";
        const auto file = manifest.files.find(*state.stored);
        if (file == manifest.files.end()) {
            throw schema::rejected_text("True", where + ".stored", *state.stored + " among the files");
        }
        if (const auto wanted = bytes_of(state.shape, state.dtype); !wanted || file->second.bytes != *wanted) {
            throw schema::rejected_text(std::to_string(file->second.bytes), "files." + *state.stored + ": bytes",
                                        (wanted ? std::to_string(*wanted) : "what memory holds") + ", as " + where +
                                            " says");
        }
    }
}

void check_axes(const Json& rows, const Manifest& manifest) {
    std::set<std::string> once{"batch"};
    std::vector<std::string> shown, known{"batch"};
    for (const Axis& axis : manifest.axes) {
        once.insert(axis.name);
        shown.push_back(repr(axis.name));
        known.push_back(axis.name);
    }
    if (once.size() != manifest.axes.size() + 1) {
        throw schema::rejected_text("[" + joined(shown) + "]", "axes: names", "each of them once, and batch not at all");
    }
    for (std::size_t i = 0; i < manifest.axes.size(); ++i) {
        const Axis& axis = manifest.axes[i];
        const auto example = rows[i]["example"].get<std::int64_t>();
        if (example < axis.min || (axis.max && example > *axis.max)) {
            throw schema::rejected_text(std::to_string(example), "axes[" + std::to_string(i) + "].example",
                                        "a size from min to max");
        }
    }
    for (const TensorSpec& spec : manifest.inputs) {
        for (const std::string& name : spec.axes) {
            if (!name.empty() && once.count(name) == 0) {
                throw schema::rejected_text(repr(name), "inputs: an axis", joined(known));
            }
        }
    }
}

// The image input of a model that is preprocessed as `how` says; its first dimension is free.
TensorSpec image_spec(const Preprocessing& how) {
    if (how.normalised_in_graph) {
        return {"", DType::uint8, {how.height, how.width, how.channels}, "NHWC"};
    }
    return {"", DType::float32, {how.channels, how.height, how.width}, "NCHW"};
}

std::string shown(const std::vector<TensorSpec>& specs) {
    std::vector<std::string> rows;
    for (const TensorSpec& spec : specs) {
        const std::string layout = spec.layout.empty() ? "None" : repr(spec.layout);
        rows.push_back("(" + repr(spec.name) + ", " + repr(name_of(spec.dtype)) + ", " + layout + ", " +
                       hamsa::shown(spec.shape) + ")");
    }
    return "[" + joined(rows) + "]";
}

void check_input(const Preprocessing& how, const std::vector<TensorSpec>& inputs) {
    const TensorSpec wanted = image_spec(how);
    const TensorSpec& found = inputs.front();
    const bool same_sizes =
        found.shape.size() == 4 && std::equal(wanted.shape.begin(), wanted.shape.end(), found.shape.begin() + 1);
    if (inputs.size() == 1 && found.dtype == wanted.dtype && found.layout == wanted.layout && same_sizes) {
        return;
    }
    std::vector<std::string> sizes;
    for (const std::int64_t size : wanted.shape) {
        sizes.push_back(std::to_string(size));
    }
    throw schema::rejected_text(shown(inputs), "inputs",
                                "one input, " + std::string(name_of(wanted.dtype)) + " " + wanted.layout +
                                    ", [\"batch\" or a number, " + joined(sizes) + "]");
}

void check_channels(const Preprocessing& how) {
    const auto channels = static_cast<std::size_t>(how.channels);
    if (how.mean.size() != channels || how.std.size() != channels) {
        throw schema::rejected_text("(" + repr(how.mean) + ", " + repr(how.std) + ")", "preprocessing: mean and std",
                                    "one per channel");
    }
}

// Whether an input is of such clips.
bool holds_clips(const TensorSpec& spec, const Audio& how) {
    const Shape& shape = spec.shape;
    if (spec.dtype != DType::float32 || spec.is_complex || shape.empty() || shape.back() == batch) {
        return false;
    }
    const bool is_batched = shape.size() == 3 || (shape.size() == 2 && how.channels == 1);
    if (is_batched && shape.front() == any_size) {
        return false;
    }
    const Shape channels(shape.begin() + (is_batched ? 1 : 0), shape.end() - 1);
    return channels == Shape{how.channels} || (channels.empty() && how.channels == 1);
}

void check_audio(const Audio& how, const Manifest& manifest) {
    if (manifest.preprocessing) {
        throw schema::rejected_text(repr(how.input), "audio: input", "no audio beside preprocessing");
    }
    std::vector<std::string> names;
    const TensorSpec* found = nullptr;
    for (const TensorSpec& spec : manifest.inputs) {
        names.push_back(spec.name);
        found = spec.name == how.input ? &spec : found;
    }
    if (found == nullptr) {
        throw schema::rejected_text(repr(how.input), "audio: input", "one of the inputs: " + joined(names));
    }
    if (!holds_clips(*found, how)) {
        const std::string channels = std::to_string(how.channels);
        const std::string flat = how.channels == 1 ? "(samples), (batch, samples)" : "(" + channels + ", samples)";
        throw schema::rejected_text("(" + repr(name_of(found->dtype)) + ", " + shown_shape(*found) + ")",
                                    "audio: the input",
                                    "float32 " + flat + " or (batch, " + channels + ", samples)");
    }
}

// A newer schema may have other keys: say that it is newer, not that its keys are unknown.
void check_version(const Json& document) {
    if (!document.is_object() || !document.contains("schema")) {
        return;
    }
    const Json& found = document["schema"];
    if (found.is_number_integer() && found.dump().front() != '-' && found.get<std::uint64_t>() > schema_version) {
        throw schema::rejected_text(found.dump(), "schema", "one of " + std::to_string(schema_version),
                                    "a newer hamsa-runtime", "a newer hamsa-deploy");
    }
}

}  // namespace

Manifest manifest_from_json(const std::string& data) {
    static const schema::Schema known(manifest_schema);
    const Json document = json_document(data);
    check_version(document);
    known.check(document);
    Manifest manifest = manifest_of(document);
    check_names("inputs", manifest.graph_inputs);
    check_names("outputs", manifest.graph_outputs);
    check_files(manifest);
    check_states(manifest);
    check_axes(document.value("axes", Json::array()), manifest);
    if (manifest.preprocessing) {
        check_channels(*manifest.preprocessing);
        check_input(*manifest.preprocessing, manifest.inputs);
    }
    if (manifest.audio) {
        check_audio(*manifest.audio, manifest);
    }
    return manifest;
}

std::string manifest_bytes(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    std::string data(max_manifest_bytes + 1, '\0');
    stream.read(data.data(), static_cast<std::streamsize>(data.size()));
    if (stream.bad() || !stream.eof()) {
        if (!stream) {
            throw InputError(path.string() + ": cannot be read");
        }
    }
    data.resize(static_cast<std::size_t>(stream.gcount()));
    return data;
}

}  // namespace hamsa
