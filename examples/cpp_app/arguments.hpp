// What the command line asks for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

struct FrameSize {
    std::int64_t width = 0, height = 0;
};

struct Arguments {
    std::filesystem::path bundle;
    std::filesystem::path folder;     // of images, where there is no size of frames
    std::optional<FrameSize> frames;  // raw frames on standard input
    std::optional<int> threads;
};

extern const char* const usage;

// hamsa::InputError: an unknown option, a value that does not fit, or something missing.
Arguments arguments_from(const std::vector<std::string>& words);
