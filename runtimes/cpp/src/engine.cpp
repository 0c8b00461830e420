#include "hamsa/engine.hpp"

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <numeric>
#include <shared_mutex>

#include "arrays.hpp"
#include "backends/backend.hpp"
#include "bundle.hpp"
#include "chunks.hpp"
#include "names.hpp"
#include "preprocess.hpp"
#include "softmax.hpp"

namespace hamsa {
namespace {

bool fits(const Shape& shape, const Shape& declared) {
    return std::equal(shape.begin(), shape.end(), declared.begin(), declared.end(),
                      [](std::int64_t size, std::int64_t wanted) { return wanted < 0 || size == wanted; });
}

void check_outputs(const Tensors& outputs, const std::vector<TensorSpec>& specs) {
    for (const TensorSpec& spec : specs) {
        const auto found = outputs.find(spec.name);
        if (found != outputs.end() && found->second.dtype() == spec.dtype && fits(found->second.shape(), spec.shape)) {
            continue;
        }
        throw BuildError("the engine returned " + (found == outputs.end() ? "nothing" : shown(found->second)) +
                             " for the output " + repr(spec.name),
                         name_of(spec.dtype) + (" " + shown_shape(spec)) + ", as the manifest says");
    }
}

Tensors initial_values(const std::vector<KeptState>& states, const VerifiedFiles& files) {
    Tensors values;
    for (const KeptState& state : states) {
        if (state.stored) {
            const VerifiedFile& file = files.at(*state.stored);
            values.emplace(state.input, Tensor(state.dtype, state.shape, file.data.get(),
                                               count_of(state.shape, state.dtype), file.data));
        } else {
            NewTensor zeros(state.dtype, state.shape);
            std::fill_n(zeros.data(), zeros.bytes(), std::byte{0});
            values.emplace(state.input, zeros.tensor());
        }
    }
    return values;
}

}  // namespace

class Engine::State {
  public:
    State(Bundle bundle, const Options& options) : folder_(bundle.folder), manifest_(std::move(bundle.manifest)) {
        VerifiedFiles files = verified_files({folder_, manifest_});
        const MakeBackend make = backend_for(manifest_.target, options.backend);
        backend_ = make({folder_, manifest_, files, options});
        initial_ = initial_values(manifest_.states, files);  // of sizes that the backend has found in the graph
        states_ = initial_;
        parallel_ = backend_->parallel() && manifest_.states.empty();
        limits_ = backend_->batch_limits();
    }

    const Manifest& manifest() const {
        const std::shared_lock lock(mutex_);
        opened();
        return manifest_;
    }

    Tensors infer(const Input& input) {
        manifest();  // a closed engine says so before it looks at images
        std::vector<Tensors> parts;
        for (const Chunk& chunk : chunks(tensors_from_input(input, manifest_), manifest_, limits_)) {
            parts.push_back(infer(chunk));
        }
        return concatenated(parts, manifest_);
    }

    const Tensor& output(const Tensors& outputs, const std::string& name) const {
        const auto found = outputs.find(name);
        if (found == outputs.end() && outputs.size() > 1) {
            std::vector<std::string> names;
            std::transform(outputs.begin(), outputs.end(), std::back_inserter(names),
                           [](const auto& o) { return o.first; });
            throw InputError(folder_.string() + ": no output is called " + repr(name) + ", only " + joined(names),
                             name);
        }
        return found == outputs.end() ? outputs.begin()->second : found->second;
    }

    std::map<std::string, std::string> describe() const {
        const std::unique_lock lock(mutex_);
        return opened().describe();
    }

    void reset() {
        const std::unique_lock lock(mutex_);
        opened();
        states_ = initial_;
    }

    void close() {
        const std::unique_lock lock(mutex_);
        backend_.reset();
    }

  private:
    // Inferences share the lock where the backend lets them; closing waits for all of them.
    Tensors infer(const Chunk& chunk) {
        Tensors outputs;
        if (parallel_) {
            const std::shared_lock lock(mutex_);
            outputs = opened().infer(chunk.inputs);
        } else {
            const std::unique_lock lock(mutex_);
            outputs = manifest_.states.empty() ? opened().infer(chunk.inputs) : with_states(chunk.inputs);
        }
        check_outputs(outputs, manifest_.outputs);
        return kept(outputs, manifest_, chunk);
    }

    // What the model keeps goes in, and comes out for the next call.
    Tensors with_states(Tensors inputs) {
        inputs.insert(states_.begin(), states_.end());
        Tensors outputs = opened().infer(inputs);
        check_outputs(outputs, manifest_.graph_outputs);
        for (const KeptState& state : manifest_.states) {
            states_.at(state.input) = outputs.at(state.output);
            outputs.erase(state.output);
        }
        return outputs;
    }

    Backend& opened() const {
        if (!backend_) {
            throw EngineClosedError(folder_.string() + ": this engine was closed", "use before close()", "",
                                    "load a new Engine");
        }
        return *backend_;
    }

    std::filesystem::path folder_;
    Manifest manifest_;
    bool parallel_ = false;
    BatchLimits limits_;
    mutable std::shared_mutex mutex_;
    std::unique_ptr<Backend> backend_;
    // By the name of the graph's input.
    Tensors initial_, states_;
};

Engine Engine::load(const std::filesystem::path& folder, const Options& options) {
    if (options.threads && *options.threads < 1) {
        throw InputError("threads is " + std::to_string(*options.threads), "a whole number of at least 1, or none");
    }
    return Engine(std::make_unique<State>(open_bundle(folder, options.public_key), options));
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Engine::State& Engine::state() const {
    if (!state_) {
        throw EngineClosedError("this engine was moved from", "use of the engine that it was moved to", "",
                                "load a new Engine");
    }
    return *state_;
}

Tensors Engine::infer(const Input& input) const { return state().infer(input); }

void Engine::reset() { state().reset(); }

std::vector<std::vector<Label>> Engine::classify(const Input& input, int top) const {
    if (top < 1) {
        throw InputError("top is " + std::to_string(top), "a whole number of at least 1");
    }
    const Tensors outputs = infer(input);
    return best_labels(state().output(outputs, "logits"), labels(), static_cast<std::size_t>(top));
}

Tensor Engine::embed(const Input& input) const {
    const Tensors outputs = infer(input);
    return state().output(outputs, "embedding");
}

const std::string& Engine::name() const { return state().manifest().name; }
const std::vector<TensorSpec>& Engine::inputs() const { return state().manifest().inputs; }
const std::vector<TensorSpec>& Engine::outputs() const { return state().manifest().outputs; }

const std::vector<std::string>& Engine::labels() const {
    static const std::vector<std::string> none;
    const auto& labels = state().manifest().labels;
    return labels ? *labels : none;
}

std::map<std::string, std::string> Engine::describe() const { return state().describe(); }

void Engine::close() {
    if (state_) {
        state_->close();
    }
}

}  // namespace hamsa
