// What the wrapper costs: Engine::infer over a bare request of OpenVINO, for one image of the model's size, taking
// turns. Arguments: a bundle for OpenVINO in fp32, how many rounds.
#include <algorithm>
#include <chrono>
#include <cstdio>
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

}  // namespace

int main(int count, char** words) {
    if (count != 3) {
        std::fprintf(stderr, "usage: hamsa_overhead BUNDLE ROUNDS\n");
        return 2;
    }
    hamsa::Options options;
    options.threads = 1;
    const std::string bundle = words[1];
    const hamsa::Engine engine = hamsa::Engine::load(bundle, options);
    hamsa::Shape shape = engine.inputs()[0].shape;
    shape[0] = 1;
    const auto bytes = static_cast<std::size_t>(shape[1] * shape[2] * shape[3]);
    const std::vector<std::uint8_t> pixels(bytes, 100);
    const hamsa::Tensor input = hamsa::Tensor::view(pixels.data(), bytes, shape);

    ov::Core core;
    auto model = core.read_model(bundle + "/model.xml");
    model->reshape(ov::PartialShape{1, shape[1], shape[2], shape[3]});
    auto compiled = core.compile_model(model, "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                                       ov::hint::inference_precision(ov::element::f32), ov::inference_num_threads(1));
    auto request = compiled.create_infer_request();
    const ov::Shape sizes(shape.begin(), shape.end());
    request.set_input_tensor(ov::Tensor(ov::element::u8, sizes, const_cast<std::uint8_t*>(pixels.data())));

    std::vector<double> bare;
    std::vector<double> ratios;
    for (int i = 0; i < std::stoi(words[2]); ++i) {
        // Who comes second finds the caches as the first left them: they change places.
        const auto ours = [&] { return milliseconds([&] { engine.infer(input); }); };
        const double before = i % 2 == 0 ? ours() : 0;
        bare.push_back(milliseconds([&] { request.infer(); }));
        ratios.push_back((i % 2 == 0 ? before : ours()) / bare.back());
    }
    std::printf("bare %.3f ms, with hamsa::Engine times %.4f\n", median(bare), median(ratios));
}
