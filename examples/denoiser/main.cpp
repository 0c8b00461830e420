// Denoises a WAV file of 16 kHz, block by block, as a microphone would give it: denoise BUNDLE NOISY.wav OUT.wav
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <hamsa/hamsa.hpp>
#include <string>
#include <vector>

namespace {

constexpr std::size_t hop = 128, delay = 384;
constexpr std::uint32_t rate = 16000;

// As many samples as there are.
std::vector<float> denoised(hamsa::Engine& engine, const hamsa::Clip& noisy) {
    const auto* heard = noisy.samples.as<float>();
    const std::size_t count = noisy.samples.count();
    std::vector<float> found;
    engine.reset();
    while (found.size() < count + delay) {
        std::vector<float> block(hop);
        const std::size_t start = std::min(found.size(), count);
        std::copy(heard + start, heard + std::min(start + hop, count), block.begin());
        const auto shape = hamsa::Shape{1, static_cast<std::int64_t>(hop)};
        const hamsa::Tensors outputs = engine.infer(hamsa::Tensor::view(block.data(), hop, shape));
        const auto* y = outputs.at("output").as<float>();
        found.insert(found.end(), y, y + hop);
    }
    return {found.begin() + delay, found.begin() + static_cast<std::ptrdiff_t>(delay + count)};
}

void put(std::string& bytes, std::uint32_t value, int count) {
    for (int i = 0; i < count; ++i) {
        bytes.push_back(static_cast<char>(value >> 8 * i & 0xFF));
    }
}

// 16 bits, one channel.
void write_wav(const std::string& path, const std::vector<float>& samples) {
    const auto size = static_cast<std::uint32_t>(2 * samples.size());
    std::string bytes = "RIFF";
    put(bytes, 36 + size, 4);
    bytes += "WAVEfmt ";
    put(bytes, 16, 4);
    put(bytes, 1, 2);
    put(bytes, 1, 2);
    put(bytes, rate, 4);
    put(bytes, 2 * rate, 4);
    put(bytes, 2, 2);
    put(bytes, 16, 2);
    bytes += "data";
    put(bytes, size, 4);
    for (const float x : samples) {
        put(bytes, static_cast<std::uint32_t>(std::lrint(std::clamp(x * 32768.0F, -32768.0F, 32767.0F))), 2);
    }
    std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace

int main(int count, char** words) {
    if (count != 4) {
        std::fprintf(stderr, "usage: denoise BUNDLE NOISY.wav OUT.wav\n");
        return 2;
    }
    try {
        hamsa::Engine engine = hamsa::Engine::load(words[1]);
        const hamsa::Clip noisy = hamsa::load_clip(words[2]);
        if (noisy.sample_rate != rate || noisy.samples.shape()[0] != 1) {
            throw hamsa::InputError(std::string(words[2]) + ": another kind of clip", "16000 Hz, one channel");
        }
        write_wav(words[3], denoised(engine, noisy));
        return 0;
    } catch (const hamsa::Error& error) {
        std::fprintf(stderr, "denoise: %s\n", error.what());
        return error.exit_code();
    }
}
