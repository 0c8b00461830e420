// WAV files, as hamsa_runtime/wav.py reads them: the same samples, the same refusals.
//
// A file is "RIFF", a size, "WAVE", and chunks of a name (4 bytes), a size (4 bytes, little-endian) and as many bytes,
// filled up to an even number. With b bits, a whole number p is the sample p / 2^(b - 1), for b = 8 (p - 128) / 2^7.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "clips.hpp"
#include "little.hpp"

namespace hamsa {
namespace {

constexpr int most_chunks = 1000;
constexpr std::uint32_t pcm = 1, floats = 3, extensible = 0xFFFE;
constexpr std::array<std::uint8_t, 14> guid{0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71};
constexpr std::size_t short_format = 16, long_format = 40;

using Bytes = std::vector<std::uint8_t>;

struct Format {
    std::uint32_t kind = 0, channels = 0, sample_rate = 0, bits = 0;
    std::uint32_t frame() const { return channels * bits / 8; }
};

// A file with the number of bytes that it has.
class File {
  public:
    explicit File(const std::filesystem::path& path)
        : path_(path), stream_(path, std::ios::binary), size_(std::filesystem::file_size(path)) {}

    // As many bytes as there are, at most `count`.
    Bytes read(std::uint64_t start, std::size_t count) {
        Bytes data(count);
        stream_.clear();
        stream_.seekg(static_cast<std::streamoff>(start));
        stream_.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(count));
        data.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream_.gcount(), 0)));
        return data;
    }
    std::uint64_t size() const { return size_; }
    const std::filesystem::path& path() const { return path_; }

  private:
    const std::filesystem::path& path_;
    std::ifstream stream_;
    std::uint64_t size_;
};

struct Samples {
    Format format;
    std::uint64_t start = 0;
    std::int64_t frames = 0;
    ClipHeader header() const { return {format.sample_rate, format.channels, frames}; }
};

bool is_known(const Format& format) {
    if (format.kind == pcm) {
        return format.bits == 8 || format.bits == 16 || format.bits == 24 || format.bits == 32;
    }
    return format.kind == floats && (format.bits == 32 || format.bits == 64);
}

Format described(const Bytes& data, const std::filesystem::path& path) {
    if (data.size() < short_format) {
        throw damaged_clip(path, std::to_string(data.size()) + " bytes of format");
    }
    Format format{little_endian(&data[0], 2), little_endian(&data[2], 2), little_endian(&data[4], 4), little_endian(&data[14], 2)};
    const std::uint32_t frame = little_endian(&data[12], 2);
    if (format.kind == extensible && data.size() == long_format && std::equal(guid.begin(), guid.end(), &data[26])) {
        format.kind = little_endian(&data[24], 2);
    }
    if (!is_known(format)) {
        throw InputError(path.string() + ": samples of the kind " + std::to_string(format.kind) + " with " +
                             std::to_string(format.bits) + " bits",
                         "PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64", "a compressed WAV file",
                         "sox in.wav -b 16 -e signed out.wav");
    }
    if (format.channels < 1 || format.sample_rate < 1 || frame != format.frame()) {
        throw damaged_clip(path, std::to_string(format.channels) + " channels, " + std::to_string(format.sample_rate) +
                                     " Hz, " + std::to_string(frame) + " bytes of " + std::to_string(format.bits) +
                                     "-bit samples");
    }
    return format;
}

Samples checked(const Format& format, std::uint64_t start, std::uint64_t length, const File& file) {
    if (start + length > file.size()) {
        throw InputError(file.path().string() + ": the clip is damaged (" + std::to_string(length) +
                             " bytes of samples declared, " + std::to_string(file.size() - start) + " there)",
                         "a whole WAV or FLAC file",
                         length >= 0xFFFFFF00 ? "its size was never written, as of a stream" : "it was cut off",
                         "sox --ignore-length in.wav out.wav");
    }
    if (length % format.frame() != 0) {
        throw damaged_clip(file.path(), std::to_string(length) + " bytes of samples, of " +
                                            std::to_string(format.frame()) + " each");
    }
    return {format, start, static_cast<std::int64_t>(length / format.frame())};
}

Samples samples_in(File& file) {
    std::optional<Format> format;
    std::uint64_t at = 12;
    for (int i = 0; i < most_chunks; ++i) {
        const Bytes head = file.read(at, 8);
        if (head.size() < 8) {
            throw damaged_clip(file.path(), "no samples");
        }
        const std::string name(head.begin(), head.begin() + 4);
        const std::uint64_t start = at + 8, length = little_endian(&head[4], 4);
        if (name == "fmt ") {
            format = described(file.read(start, std::min<std::size_t>(length, long_format)), file.path());
        } else if (name == "data") {
            if (!format) {
                throw damaged_clip(file.path(), "its samples come before what they are");
            }
            return checked(*format, start, length, file);
        }
        if (start + length > file.size()) {
            throw damaged_clip(file.path(), std::to_string(length) + " bytes declared where " +
                                                std::to_string(file.size() - start) + " are left");
        }
        at = start + length + length % 2;
    }
    throw damaged_clip(file.path(), "more than " + std::to_string(most_chunks) + " chunks");
}

template <typename Number, typename Bits>
float number_in(const std::uint8_t* bytes) {
    Bits bits = 0;
    for (std::size_t i = sizeof(Bits); i-- > 0;) {
        bits = static_cast<Bits>(bits << 8 | bytes[i]);
    }
    Number number;
    std::memcpy(&number, &bits, sizeof number);
    // Beyond the largest float a cast is undefined; what is not finite is refused.
    const bool is_small = std::abs(number) <= static_cast<Number>(std::numeric_limits<float>::max());
    return is_small ? static_cast<float>(number) : std::numeric_limits<float>::infinity();
}

float sample_in(const std::uint8_t* bytes, const Format& format) {
    if (format.kind == floats) {
        return format.bits == 32 ? number_in<float, std::uint32_t>(bytes) : number_in<double, std::uint64_t>(bytes);
    }
    if (format.bits == 8) {
        return (static_cast<float>(bytes[0]) - 128.0F) / 128.0F;
    }
    const int width = static_cast<int>(format.bits / 8);
    const auto highest = static_cast<std::int32_t>(little_endian(bytes, width) << (32 - format.bits));
    return static_cast<float>(highest) * 0x1p-31F;
}

}  // namespace

Clip decode_wav(const std::filesystem::path& path, const Audio* how) {
    File file(path);
    const Samples found = samples_in(file);
    const ClipHeader header = found.header();
    check_header(header, how, path);
    NewTensor samples(DType::float32, {header.channels, header.frames});
    const std::size_t width = found.format.bits / 8;
    std::vector<float> piece;
    const std::int64_t step = header.frames_at_a_time();
    for (std::int64_t start = 0; start < header.frames; start += step) {
        const std::int64_t count = std::min(step, header.frames - start);
        piece.resize(static_cast<std::size_t>(count * header.channels));
        const Bytes data = file.read(found.start + static_cast<std::uint64_t>(start) * found.format.frame(),
                                     piece.size() * width);
        if (data.size() < piece.size() * width) {
            throw damaged_clip(path, std::to_string(start) + " samples of " + std::to_string(header.frames));
        }
        for (std::size_t i = 0; i < piece.size(); ++i) {
            piece[i] = sample_in(&data[i * width], found.format);
        }
        write_frames(piece.data(), count, start, header, samples.as<float>());
    }
    return {samples.tensor(), header.sample_rate};
}

}  // namespace hamsa
