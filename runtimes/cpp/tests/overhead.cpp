// What the wrapper costs: Engine::infer over a bare request of OpenVINO, for one image of the model's size, taking
// turns. A second bare request, of a model compiled once more, is the control: what it differs by is not the wrapper.
// Arguments: a bundle for OpenVINO in fp32, how many rounds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <openvino/openvino.hpp>
#include <string>
#include <vector>

#include "hamsa/hamsa.hpp"

namespace {

template <typename Step>
double milliseconds(Step step) {
    const auto start = std::chrono::steady_clock::now();
    step();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

std::vector<double> ratios(const std::vector<double>& these, const std::vector<double>& those) {
    std::vector<double> result(these.size());
    std::transform(these.begin(), these.end(), those.begin(), result.begin(), std::divides<>());
    return result;
}

// A model compiled by an application that knows nothing of this library: from the files, on one thread.
ov::InferRequest bare_request(ov::Core& core, const std::string& bundle, const ov::Tensor& input) {
    auto model = core.read_model(bundle + "/model.xml");
    model->reshape(ov::PartialShape(input.get_shape()));
    auto compiled = core.compile_model(model, "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                                       ov::hint::inference_precision(ov::element::f32), ov::inference_num_threads(1));
    auto request = compiled.create_infer_request();
    request.set_input_tensor(input);
    return request;
}

using Call = std::function<void()>;
using Load = std::function<Call()>;

// Milliseconds of each call in each round, the models loaded in the given order.
std::vector<std::vector<double>> interleaved(const std::vector<Load>& loads, std::size_t first, int rounds) {
    std::vector<Call> calls(loads.size());
    for (std::size_t step = 0; step < loads.size(); ++step) {
        const std::size_t turn = (step + first) % loads.size();
        calls[turn] = loads[turn]();
    }
    std::vector<std::vector<double>> times(calls.size());
    for (int round = 0; round < rounds; ++round) {
        // Who comes next finds the caches as the one before left them: the order turns.
        for (std::size_t step = 0; step < calls.size(); ++step) {
            const std::size_t turn = (step + static_cast<std::size_t>(round)) % calls.size();
            times[turn].push_back(milliseconds(calls[turn]));
        }
    }
    return times;
}

}  // namespace

int main(int count, char** words) {
    if (count != 3) {
        std::fprintf(stderr, "usage: hamsa_overhead BUNDLE ROUNDS\n");
        return 2;
    }
    const std::string bundle = words[1];
    hamsa::Options options;
    options.threads = 1;
    hamsa::Shape shape = hamsa::Engine::load(bundle, options).inputs()[0].shape;
    shape[0] = 1;
    const auto bytes = static_cast<std::size_t>(shape[1] * shape[2] * shape[3]);
    const std::vector<std::uint8_t> pixels(bytes, 100);
    const hamsa::Tensor input = hamsa::Tensor::view(pixels.data(), bytes, shape);
    const ov::Tensor same(ov::element::u8, ov::Shape(shape.begin(), shape.end()),
                          const_cast<std::uint8_t*>(pixels.data()));

    ov::Core core;
    const Load bare = [&]() -> Call {
        return [request = bare_request(core, bundle, same)]() mutable { request.infer(); };
    };
    const Load wrapped = [&]() -> Call {
        const auto engine = std::make_shared<hamsa::Engine>(hamsa::Engine::load(bundle, options));
        return [engine, &input] { engine->infer(input); };
    };
    std::vector<double> control_ratios, engine_ratios, bare_times;
    // The model that is loaded first is a percent slower than its equals, wherever its memory lies: each comes first.
    for (std::size_t first = 0; first < 3; ++first) {
        const auto times = interleaved({bare, bare, wrapped}, first, std::stoi(words[2]));
        const auto control = ratios(times[1], times[0]);
        const auto engine = ratios(times[2], times[0]);
        control_ratios.insert(control_ratios.end(), control.begin(), control.end());
        engine_ratios.insert(engine_ratios.end(), engine.begin(), engine.end());
        bare_times.insert(bare_times.end(), times[0].begin(), times[0].end());
        std::printf("loaded in order %zu: a second bare request times %.4f, hamsa::Engine times %.4f\n", first,
                    median(control), median(engine));
    }
    std::printf("bare %.3f ms; a second bare request times %.4f, hamsa::Engine times %.4f\n", median(bare_times),
                median(control_ratios), median(engine_ratios));
}
