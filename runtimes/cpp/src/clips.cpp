#include "clips.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <system_error>

#include "names.hpp"

namespace hamsa {
namespace {

constexpr const char* clip_formats = "WAV, FLAC";

std::array<char, 12> start_of(const std::filesystem::path& path) {
    std::array<char, 12> start{};
    std::ifstream(path, std::ios::binary).read(start.data(), start.size());
    return start;
}

bool says(const std::array<char, 12>& start, std::size_t at, const char* word) {
    return std::equal(word, word + 4, start.begin() + static_cast<std::ptrdiff_t>(at));
}

Clip decoded(const std::filesystem::path& path, const Audio* how) {
    const std::array<char, 12> start = start_of(path);
    if (says(start, 0, "RIFF") && says(start, 8, "WAVE")) {
        return decode_wav(path, how);
    }
    if (says(start, 0, "fLaC")) {
        return decode_flac(path, how);
    }
    throw InputError(path.string() + ": not an audio file in a known format", std::string("one of ") + clip_formats,
                     "another format behind this name, or an empty or damaged file", "sox in.mp3 out.wav");
}

// (channels, samples) with the dimensions of the input: a batch of one where it has a batch.
Tensor shaped(const Tensor& samples, std::size_t rank) {
    Shape shape = samples.shape();
    if (rank == 1) {
        shape.erase(shape.begin());
    } else if (rank == 3) {
        shape.insert(shape.begin(), 1);
    }
    return Tensor(samples.dtype(), std::move(shape), samples.data(), samples.count(), samples.owner());
}

}  // namespace

InputError damaged_clip(const std::filesystem::path& path, const std::string& found) {
    return InputError(path.string() + ": the clip is damaged (" + found + ")", "a whole WAV or FLAC file");
}

void check_header(const ClipHeader& header, const Audio* how, const std::filesystem::path& path) {
    const std::string name = path.string();
    if (how != nullptr && header.sample_rate != how->sample_rate) {
        const std::string wanted = std::to_string(how->sample_rate);
        throw InputError(name + ": " + std::to_string(header.sample_rate) + " Hz",
                         wanted + " Hz: a runtime does not resample", "", "sox in.wav -r " + wanted + " out.wav");
    }
    if (how != nullptr && header.channels != how->channels) {
        const std::string wanted = std::to_string(how->channels);
        throw InputError(
            name + ": " + std::to_string(header.channels) + (header.channels == 1 ? " channel" : " channels"),
            wanted + ": a runtime does not mix channels", "", "sox in.wav -c " + wanted + " out.wav");
    }
    if (header.frames < 1) {
        throw InputError(name + ": a clip without samples", "at least one");
    }
    if (header.frames > max_samples / header.channels) {
        throw InputError(
            name + ": too long: " + std::to_string(header.frames) + " samples of " + std::to_string(header.channels),
            "at most " + std::to_string(max_samples) + " samples of all channels together",
            "a header that lies, or a recording of hours", "cut it first");
    }
}

void write_frames(const float* frames, std::int64_t count, std::int64_t start, const ClipHeader& header, float* out) {
    for (std::int64_t c = 0; c < header.channels; ++c) {
        float* to = out + c * header.frames + start;
        for (std::int64_t i = 0; i < count; ++i) {
            to[i] = frames[i * header.channels + c];
        }
    }
}

Clip load_clip(const std::filesystem::path& path, const Audio* how) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored)) {
        throw InputError(path.string() + ": no such audio file", std::string("a file in ") + clip_formats);
    }
    Clip clip = decoded(path, how);
    const auto* x = clip.samples.as<float>();
    if (!std::all_of(x, x + clip.samples.count(), [](float value) { return std::isfinite(value); })) {
        throw InputError(path.string() + ": a clip with NaN or infinity in it", "finite samples");
    }
    return clip;
}

Clip load_clip(const std::filesystem::path& path) { return load_clip(path, nullptr); }

Tensor input_from_clip(const std::filesystem::path& path, const Manifest& manifest) {
    const Audio& how = *manifest.audio;
    const Clip clip = load_clip(path, &how);
    const auto spec = std::find_if(manifest.inputs.begin(), manifest.inputs.end(),
                                   [&](const TensorSpec& each) { return each.name == how.input; });
    const std::int64_t size = spec->shape.back();
    const std::int64_t found = clip.samples.shape()[1];
    if (size >= 0 && found != size) {
        const std::string wanted = std::to_string(size);
        throw InputError(path.string() + ": " + std::to_string(found) + " samples",
                         wanted + ", the length of the input " + repr(how.input), "",
                         manifest.states.empty()
                             ? "cut or fill it; or export with a free length: --dynamic " + how.input + ":" +
                                   std::to_string(spec->shape.size() - 1) + "=samples"
                             : "hamsa::load_clip, and an inference for each " + wanted + " of its samples");
    }
    return shaped(clip.samples, spec->shape.size());
}

}  // namespace hamsa
