// hamsa::Engine: a bundle, loaded and ready to run.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "hamsa/error.hpp"
#include "hamsa/export.hpp"
#include "hamsa/image.hpp"
#include "hamsa/tensor.hpp"

namespace hamsa {

struct Options {
    // "openvino"; by default the one that the bundle was made for.
    std::optional<std::string> backend;
    // What it runs on, or an error; case does not count, and "cuda:0" is CUDA.0. With OpenVINO "CPU", "GPU.1", "NPU",
    // "AUTO" or "AUTO:GPU,CPU" for one that it chooses, "HETERO:GPU,CPU" for a model that it may split; with TensorRT
    // "GPU.1". By default "CPU", with TensorRT "GPU". `describe` says what became of it. Parity was measured on one
    // device; `hamsa-parity --device` measures it on another.
    std::optional<std::string> device;
    // CPU threads for one inference; by default the backend's choice.
    std::optional<int> threads;
    // The path of a PEM file: refuse a bundle that hamsa-sign has not signed with the private key that belongs to it.
    std::optional<std::filesystem::path> public_key;
};

// What an engine takes. For a model of images: the path of one, one or several images, or a tensor, which is uint8
// (H, W), (H, W, C) or (N, H, W, C), resized as the bundle says, or normalised float32 or float64 (C, H, W) or
// (N, C, H, W) of exactly the model's size. For a model of clips the path of a WAV or FLAC file of its sample rate,
// channels and length. For any other model a tensor, or tensors by the names of its inputs.
using Input = std::variant<std::filesystem::path, Image, std::vector<Image>, Tensor, Tensors>;

struct Label {
    std::string name;
    double probability = 0;
};

// Runs one bundle. Any number of threads may share an engine: preparing images runs in parallel, inference is
// serialised by a lock (with backends that cannot do better), and the results are those of one thread. To infer in
// parallel, load one engine per thread. Moving an engine while another thread uses it is a race, as with any object.
class HAMSA_API Engine {
  public:
    // Checks every file of the bundle against the manifest's hashes, and then loads what was checked.
    // InputError: the bundle is damaged or not one, or an option is wrong. MissingError: the backend, the device or the
    // precision is not available here. BuildError: the backend could not load the model.
    static Engine load(const std::filesystem::path& folder, const Options& options = {});

    Engine(Engine&&) noexcept;
    Engine& operator=(Engine&&) noexcept;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine();

    // One tensor for each output, in the manifest's dtype; the batch, even of one, lies along batch_axis of its spec.
    // Batches of any size are cut to what the bundle allows. InputError: the input does not fit the model, or an output
    // cannot be put together from several inferences; found before the backend sees it.
    // A model that keeps something between calls goes on where the last call ended; one engine is then for one stream of
    // inputs.
    Tensors infer(const Input& input) const;

    // Starts a new stream: what the model keeps between calls is again as it was when it was exported.
    void reset();

    // The `top` most probable labels of every image, with their softmax probabilities, best first. Reads the output
    // "logits", or the only output. Without labels in the bundle, a label is its index.
    std::vector<std::vector<Label>> classify(const Input& input, int top = 5) const;

    // One feature vector for every image, (images, width): the output "embedding", or the only output.
    Tensor embed(const Input& input) const;

    const std::string& name() const;
    const std::vector<TensorSpec>& inputs() const;
    const std::vector<TensorSpec>& outputs() const;
    // Empty if the bundle has none.
    const std::vector<std::string>& labels() const;

    // What runs: backend, version, device, precision.
    std::map<std::string, std::string> describe() const;

    // Frees the backend, after a running inference; closing twice is allowed. After it, and on an engine that was moved
    // from, everything but this and the destructor throws EngineClosedError.
    void close();

  private:
    class State;
    explicit Engine(std::unique_ptr<State> state);
    State& state() const;

    std::unique_ptr<State> state_;
};

}  // namespace hamsa
