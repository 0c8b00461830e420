#include "arguments.hpp"

#include <charconv>
#include <hamsa/hamsa.hpp>

namespace {

constexpr int largest_side = 16384;

int whole_number(const std::string& option, const std::string& text, int largest) {
    int value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || value < 1 || value > largest) {
        throw hamsa::InputError(option + ": '" + text + "'", "a whole number from 1 to " + std::to_string(largest));
    }
    return value;
}

FrameSize frame_size(const std::string& text) {
    const std::size_t cross = text.find('x');
    if (cross == std::string::npos) {
        throw hamsa::InputError("--frames: '" + text + "'", "WIDTHxHEIGHT, such as 640x480");
    }
    return {whole_number("--frames", text.substr(0, cross), largest_side),
            whole_number("--frames", text.substr(cross + 1), largest_side)};
}

void set(Arguments& arguments, const std::string& option, const std::string& value) {
    if (option == "--frames") {
        arguments.frames = frame_size(value);
    } else if (option == "--threads") {
        arguments.threads = whole_number(option, value, 1024);
    } else {
        throw hamsa::InputError("unknown option " + option, "--frames or --threads");
    }
}

}  // namespace

const char* const usage =
    "usage: cpp_app BUNDLE FOLDER [--threads N]\n"
    "       cpp_app BUNDLE --frames WIDTHxHEIGHT [--threads N]    raw RGB frames on standard input\n"
    "\n"
    "Prints class, probability and latency of each image, and the 50th and 99th percentile of the latencies at the\n"
    "end, or after Ctrl-C.\n";

Arguments arguments_from(const std::vector<std::string>& words) {
    Arguments arguments;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i].rfind("--", 0) != 0) {
            names.push_back(words[i]);
        } else if (i + 1 < words.size()) {
            set(arguments, words[i], words[i + 1]);
            ++i;
        } else {
            throw hamsa::InputError(words[i] + " has no value", "", "", "cpp_app --help");
        }
    }
    const std::size_t wanted = arguments.frames ? 1 : 2;
    if (names.size() != wanted) {
        throw hamsa::InputError(std::to_string(names.size()) + " names given",
                                wanted == 1 ? "BUNDLE" : "BUNDLE and FOLDER", "", "cpp_app --help");
    }
    arguments.bundle = names[0];
    arguments.folder = wanted == 2 ? names[1] : "";
    return arguments;
}
