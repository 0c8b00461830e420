// FLAC files, by libsndfile where the library was built with it.
#include "clips.hpp"

#ifdef HAMSA_WITH_SNDFILE
#include <sndfile.h>

#include <memory>
#include <vector>
#endif

namespace hamsa {

#ifdef HAMSA_WITH_SNDFILE

Clip decode_flac(const std::filesystem::path& path, const Audio* how) {
    SF_INFO info{};
    const std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> file(sf_open(path.c_str(), SFM_READ, &info), sf_close);
    if (!file || (info.format & SF_FORMAT_TYPEMASK) != SF_FORMAT_FLAC) {
        throw damaged_clip(path, sf_strerror(file.get()));
    }
    const ClipHeader header{info.samplerate, info.channels, info.frames};
    check_header(header, how, path);
    NewTensor samples(DType::float32, {header.channels, header.frames});
    const std::int64_t step = header.frames_at_a_time();
    std::vector<float> piece(static_cast<std::size_t>(step * header.channels));
    std::int64_t done = 0;
    while (done < header.frames) {
        const auto count = sf_readf_float(file.get(), piece.data(), std::min(step, header.frames - done));
        if (count <= 0) {
            break;
        }
        write_frames(piece.data(), count, done, header, samples.as<float>());
        done += count;
    }
    if (sf_error(file.get()) != SF_ERR_NO_ERROR) {
        throw damaged_clip(path, sf_strerror(file.get()));
    }
    if (done != header.frames) {
        throw damaged_clip(path, std::to_string(done) + " samples of " + std::to_string(header.frames));
    }
    return {samples.tensor(), header.sample_rate};
}

#else

Clip decode_flac(const std::filesystem::path& path, const Audio*) {
    throw MissingError(path.string() + ": FLAC files cannot be read: this library was built without libsndfile",
                       "a library that was built where the package libsndfile1-dev is", "",
                       "sox in.flac out.wav; WAV files need no package");
}

#endif

}  // namespace hamsa
