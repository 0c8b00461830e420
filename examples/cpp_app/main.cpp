// Classifies the images of a folder, or raw camera frames from standard input, and says how long each took.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <hamsa/hamsa.hpp>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "frames.hpp"
#include "latencies.hpp"

namespace fs = std::filesystem;

namespace {

volatile std::sig_atomic_t stopped = 0;

void stop(int) {
    stopped = 1;
    ::close(STDIN_FILENO);  // or a signal between looking at `stopped` and reading would wait for one more frame
}

// Without SA_RESTART, so that a read that waits for the camera returns.
void stop_on(int signal) {
    struct sigaction action = {};
    action.sa_handler = stop;
    sigaction(signal, &action, nullptr);
}

void classify(const hamsa::Engine& engine, const std::string& name, const hamsa::Input& input, Latencies& latencies) {
    const auto start = std::chrono::steady_clock::now();
    const hamsa::Label best = engine.classify(input, 1).at(0).at(0);
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
    latencies.add(taken.count());
    std::printf("%s  %s  %.2f %%  %.2f ms\n", name.c_str(), best.name.c_str(), 100 * best.probability, taken.count());
}

bool is_image(const fs::path& path) {
    std::string suffix = path.extension();
    std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
    return suffix == ".jpg" || suffix == ".jpeg" || suffix == ".png";
}

std::vector<fs::path> images_in(const fs::path& folder) {
    std::error_code error;
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        if (is_image(entry.path())) {
            paths.push_back(entry.path());
        }
    }
    if (paths.empty()) {
        throw hamsa::InputError(folder.string() + ": " + (error ? error.message() : "no images"),
                                "a folder with JPEG or PNG files");
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

// The latency is that of decoding, preparing and inference.
void classify_folder(const hamsa::Engine& engine, const fs::path& folder, Latencies& latencies) {
    for (const fs::path& path : images_in(folder)) {
        if (stopped) {
            return;
        }
        try {
            classify(engine, path.filename(), path, latencies);
        } catch (const hamsa::InputError& error) {
            std::fprintf(stderr, "skipped  %s\n", error.found().c_str());
        }
    }
    if (latencies.count() == 0) {
        throw hamsa::InputError(folder.string() + ": no image can be read");
    }
}

// The latency is that of preparing and inference, from the last byte of the frame on.
void classify_frames(const hamsa::Engine& engine, FrameSize size, Latencies& latencies) {
    Frames frames(STDIN_FILENO, size);
    while (!stopped) {
        const std::uint8_t* const pixels = frames.next();
        if (pixels == nullptr) {
            return;
        }
        const std::string name = "frame " + std::to_string(latencies.count());
        classify(engine, name, hamsa::Image(pixels, size.height, size.width, 3), latencies);
    }
}

void run(const Arguments& arguments) {
    hamsa::Options options;
    options.threads = arguments.threads;
    const hamsa::Engine engine = hamsa::Engine::load(arguments.bundle, options);
    stop_on(SIGINT);
    stop_on(SIGTERM);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);  // each line at once, in a pipe as well

    Latencies latencies;
    if (arguments.frames) {
        classify_frames(engine, *arguments.frames, latencies);
    } else {
        classify_folder(engine, arguments.folder, latencies);
    }
    std::printf("%zu images%s, p50 %.2f ms, p99 %.2f ms\n", latencies.count(), stopped ? ", stopped" : "",
                latencies.percentile(50), latencies.percentile(99));
}

}  // namespace

int main(int count, char** words) {
    const std::vector<std::string> given(words + 1, words + count);
    if (given == std::vector<std::string>{"--help"}) {
        std::fputs(usage, stdout);
        return 0;
    }
    try {
        run(arguments_from(given));
        return 0;
    } catch (const hamsa::Error& error) {
        std::fprintf(stderr, "cpp_app: %s\n", error.what());
        return error.exit_code();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "cpp_app: internal error: %s\n", error.what());
        return 1;
    }
}
