#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "images.hpp"
#include "little.hpp"
#include "strip.hpp"

namespace hamsa {
namespace {

using namespace std::string_view_literals;

constexpr std::uint32_t has_animation = 2, has_xmp = 4, has_exif = 8;  // flags of VP8X
constexpr std::size_t canvas_bytes = 10, frame_bytes = 16;             // of VP8X, and of ANMF before its chunks
constexpr std::uint32_t most_side = 0x3FFF;

std::uint32_t little(std::string_view data, std::size_t at, int count) {
    return little_endian(reinterpret_cast<const std::uint8_t*>(data.data()) + at, count);
}

struct WebpChunk {
    std::string_view name, body;
};

struct WebpSize {
    std::uint32_t width, height;
};

class WebpChunks {
  public:
    WebpChunks(std::string_view data, const EncodedImage& file) : data_(data), file_(file) {}

    std::optional<WebpChunk> next() {
        if (at_ >= data_.size()) {
            return std::nullopt;
        }
        if (++parts_ > max_parts) {
            throw damaged(file_, "more than " + std::to_string(max_parts) + " chunks");
        }
        const std::string_view rest = data_.substr(at_);
        if (rest.size() < 8 || little(rest, 4, 4) > rest.size() - 8) {
            throw truncated(file_);
        }
        const std::size_t length = little(rest, 4, 4);
        at_ += 8 + length + length % 2;
        return WebpChunk{rest.substr(0, 4), rest.substr(8, length)};
    }

    std::vector<WebpChunk> rest() {
        std::vector<WebpChunk> found;
        while (const auto chunk = next()) {
            found.push_back(*chunk);
        }
        return found;
    }

  private:
    std::string_view data_;
    const EncodedImage& file_;
    std::size_t at_ = 0;
    int parts_ = 0;
};

std::optional<WebpChunk> first_of(const std::vector<WebpChunk>& chunks, std::initializer_list<std::string_view> names) {
    for (const WebpChunk& chunk : chunks) {
        for (const std::string_view name : names) {
            if (chunk.name == name) {
                return chunk;
            }
        }
    }
    return std::nullopt;
}

WebpChunk picture_in(const std::vector<WebpChunk>& chunks, const EncodedImage& file) {
    const auto picture = first_of(chunks, {"VP8 "sv, "VP8L"sv});
    if (!picture) {
        throw damaged(file, "no picture");
    }
    return *picture;
}

void check_webp_size(WebpSize size, const EncodedImage& file) {
    check_file_size(size.width, size.height, file, max_pixels / 2);  // as in Python, whose decoder needs the memory
}

// libwebp looks at the rest of the header.
WebpSize size_of(const WebpChunk& picture, const EncodedImage& file) {
    const std::string_view body = picture.body;
    WebpSize size{};
    if (picture.name == "VP8 "sv && body.size() >= 10 && (body[0] & 1) == 0 && body.substr(3, 3) == "\x9d\x01\x2a"sv) {
        size = {little(body, 6, 2) & most_side, little(body, 8, 2) & most_side};
    } else if (picture.name == "VP8L"sv && body.size() >= 5 && body[0] == 0x2F) {
        const std::uint32_t bits = little(body, 1, 4);
        size = {1 + (bits & most_side), 1 + (bits >> 14 & most_side)};
    } else {
        throw damaged(file, "no picture");
    }
    check_webp_size(size, file);
    return size;
}

WebpChunk first_frame(const std::vector<WebpChunk>& chunks, WebpSize canvas, const EncodedImage& file) {
    const auto frame = first_of(chunks, {"ANMF"sv});
    if (!frame || frame->body.size() < frame_bytes) {
        throw damaged(file, "no frame");
    }
    const auto number = [&](std::size_t at) { return little(frame->body, at, 3); };
    if (number(0) != 0 || number(3) != 0 || 1 + number(6) != canvas.width || 1 + number(9) != canvas.height) {
        throw not_read(file, "an animated WebP image whose first frame is a part of it", "a first frame that is all of it");
    }
    return picture_in(WebpChunks(frame->body.substr(frame_bytes), file).rest(), file);
}

std::vector<std::uint8_t> plain(const WebpChunk& picture) {
    const std::size_t padding = picture.body.size() % 2;
    std::string data;
    const auto append_length = [&data](std::size_t length) {
        for (int shift = 0; shift < 32; shift += 8) {
            data += static_cast<char>(length >> shift);
        }
    };
    data += "RIFF"sv;
    append_length(12 + picture.body.size() + padding);
    data += "WEBP"sv;
    data += picture.name;
    append_length(picture.body.size());
    data += picture.body;
    data.append(padding, '\0');
    return {data.begin(), data.end()};
}

// What VP8X says of the other chunks.
Stripped extended(std::string_view header, const std::vector<WebpChunk>& chunks, const EncodedImage& file) {
    if (header.size() < canvas_bytes) {
        throw truncated(file);
    }
    const std::uint32_t flags = little(header, 0, 1);
    const WebpSize canvas{1 + little(header, 4, 3), 1 + little(header, 7, 3)};
    check_webp_size(canvas, file);
    const bool moves = (flags & has_animation) != 0;
    const WebpChunk picture = moves ? first_frame(chunks, canvas, file) : picture_in(chunks, file);
    const WebpSize size = size_of(picture, file);
    if (size.width != canvas.width || size.height != canvas.height) {
        throw damaged(file, "a picture of another size than its canvas");
    }
    const auto text = [&](std::uint32_t flag, std::string_view name) {
        const auto chunk = (flags & flag) != 0 ? first_of(chunks, {name}) : std::nullopt;
        return chunk ? std::optional<std::string>(chunk->body) : std::nullopt;
    };
    return {plain(picture), {text(has_exif, "EXIF"sv), std::nullopt, text(has_xmp, "XMP "sv)}};
}

}  // namespace

Stripped strip_webp(const EncodedImage& file) {
    const std::string_view data(reinterpret_cast<const char*>(file.data), file.size);
    const std::size_t length = little(data, 4, 4);
    if (length > data.size() - 8) {
        throw truncated(file);
    }
    WebpChunks chunks(data.substr(0, std::max<std::size_t>(12, 8 + length)).substr(12), file);
    const auto first = chunks.next();
    if (first && first->name == "VP8X"sv) {
        return extended(first->body, chunks.rest(), file);
    }
    const WebpChunk picture = first.value_or(WebpChunk{});
    size_of(picture, file);
    return {plain(picture), {}};
}

}  // namespace hamsa
