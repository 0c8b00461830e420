// Loads and unloads, and inferences; memory may grow by less than a tenth after 30 of them.
// Arguments: a bundle, how many loads, how many inferences.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "hamsa/hamsa.hpp"

namespace {

constexpr int warm_up = 30;
constexpr double allowed = 1.1;

// Bytes of this process that are in memory.
double resident() {
    std::ifstream stream("/proc/self/statm");
    double pages = 0;
    stream >> pages >> pages;
    return pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}

template <typename Step>
bool stays_small(const char* name, int steps, Step step) {
    for (int i = 0; i < warm_up; ++i) {
        step();
    }
    const double before = resident();
    for (int i = warm_up; i < steps; ++i) {
        step();
    }
    const double growth = resident() / before;
    std::printf("%d %s: %.1f MB after %d, then times %.3f\n", steps, name, before / 1e6, warm_up, growth);
    return growth < allowed;
}

}  // namespace

int main(int count, char** words) {
    if (count != 4) {
        std::fprintf(stderr, "usage: hamsa_soak BUNDLE LOADS INFERENCES\n");
        return 2;
    }
    const std::string bundle = words[1];
    hamsa::Options options;
    options.threads = 1;
    const std::vector<std::uint8_t> pixels(64 * 48 * 3, 128);
    const hamsa::Image image(pixels.data(), 48, 64, 3);
    const bool loads = stays_small("loads", std::stoi(words[2]), [&] {
        hamsa::Engine engine = hamsa::Engine::load(bundle, options);
        engine.infer(image);
    });
    const hamsa::Engine engine = hamsa::Engine::load(bundle, options);
    const bool inferences = stays_small("inferences", std::stoi(words[3]), [&] { engine.infer(image); });
    return loads && inferences ? 0 : 1;
}
