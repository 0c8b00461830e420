#include <zlib.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "images.hpp"
#include "strip.hpp"

namespace hamsa {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view signature = "\x89PNG\r\n\x1a\n"sv;
constexpr int palette_type = 3;
constexpr std::size_t max_text = 1 << 20;

std::uint32_t number(std::string_view bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (const char byte : bytes.substr(at, 4)) {
        value = value << 8 | static_cast<std::uint8_t>(byte);
    }
    return value;
}

int byte(std::string_view bytes, std::size_t at) { return static_cast<std::uint8_t>(bytes[at]); }

std::uint32_t crc_of(std::string_view data) {
    const auto* bytes = reinterpret_cast<const Bytef*>(data.data());
    return static_cast<std::uint32_t>(crc32_z(crc32_z(0, nullptr, 0), bytes, data.size()));
}

struct PngChunk {
    std::string name;
    std::string_view body, whole;
};

class PngChunks {
  public:
    explicit PngChunks(const EncodedImage& file)
        : file_(file), data_(reinterpret_cast<const char*>(file.data), file.size) {}

    PngChunk next() {
        if (++parts_ > max_parts) {
            throw damaged(file_, "more than " + std::to_string(max_parts) + " chunks");
        }
        const std::string_view rest = data_.substr(at_);
        if (rest.size() < 12) {
            throw truncated(file_);
        }
        PngChunk chunk{std::string(rest.substr(4, 4)), {}, {}};
        const auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
        if (!std::all_of(chunk.name.begin(), chunk.name.end(), is_letter)) {
            throw damaged(file_, "a chunk without a name");
        }
        const std::size_t length = number(rest, 0);
        if (length > rest.size() - 12) {
            throw truncated(file_);
        }
        if (crc_of(rest.substr(4, 4 + length)) != number(rest, 8 + length)) {
            throw damaged(file_, "wrong CRC of " + chunk.name);
        }
        chunk.body = rest.substr(8, length);
        chunk.whole = rest.substr(0, 12 + length);
        at_ += 12 + length;
        return chunk;
    }

  private:
    EncodedImage file_;
    std::string_view data_;
    std::size_t at_ = signature.size();
    int parts_ = 0;
};

// The kinds of chunks so far, after a further one: critical ones by a letter, IDATs as one; "." is one or more of
// others after them.
void add_to_order(std::string& order, const std::string& name, const EncodedImage& file) {
    constexpr std::array<std::string_view, 4> orders{"HDE", "HPDE", "HD.E", "HPD.E"};
    const char kind = name == "IHDR" ? 'H' : name == "PLTE" ? 'P' : name == "IDAT" ? 'D' : name == "IEND" ? 'E' : '.';
    if (kind == '.' && (name[0] & 0x20) == 0) {
        throw damaged(file, "unknown critical chunk " + name);
    }
    const bool before_pixels = kind == '.' && !order.empty() && order.find('D') == std::string::npos;
    const bool repeated = (kind == '.' || kind == 'D') && !order.empty() && order.back() == kind;
    if (before_pixels || repeated) {
        return;
    }
    order += kind;
    const auto begins = [&](std::string_view each) { return each.substr(0, order.size()) == order; };
    if (std::none_of(orders.begin(), orders.end(), begins)) {
        throw damaged(file, "chunk " + name + " out of place");
    }
}

// The depths that the standard has.
bool is_valid(std::string_view header) {
    const int bits = byte(header, 8), colour = byte(header, 9);
    const bool bytes = bits == 8 || bits == 16;
    const bool less = bits == 1 || bits == 2 || bits == 4;
    const bool depth = colour == 0   ? bytes || less
                       : colour == 3 ? less || bits == 8
                                     : bytes && (colour == 2 || colour == 4 || colour == 6);
    return depth && byte(header, 10) == 0 && byte(header, 11) == 0 && byte(header, 12) <= 1;
}

void check_header(std::string_view header, const EncodedImage& file) {
    if (header.size() != 13) {
        throw damaged(file, "a header of another length");
    }
    check_file_size(number(header, 0), number(header, 4), file);
    if (!is_valid(header)) {
        throw damaged(file, "a header that the standard does not have");
    }
}

void append(std::vector<std::uint8_t>& data, std::string_view bytes) {
    data.insert(data.end(), bytes.begin(), bytes.end());
}

void append_number(std::vector<std::uint8_t>& data, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        data.push_back(static_cast<std::uint8_t>(value >> shift));
    }
}

void append_chunk(std::vector<std::uint8_t>& data, std::string name, std::string_view body) {
    append_number(data, static_cast<std::uint32_t>(body.size()));
    name += body;
    append(data, name);
    append_number(data, crc_of(name));
}

// As many colours as an index can name.
std::string whole_palette(const std::optional<std::string_view>& palette, int bits, const EncodedImage& file) {
    if (!palette || palette->empty() || palette->size() % 3 != 0 || palette->size() > 3 * 256) {
        throw damaged(file, palette ? "a palette of " + std::to_string(palette->size()) + " bytes" : "no palette");
    }
    std::string whole(*palette);
    whole.resize(std::size_t{3} << bits, '\0');
    return whole;
}

// Empty if it is damaged, cut or too long.
std::string unpacked(std::string_view data) {
    std::string text(max_text, '\0');
    z_stream stream{};
    if (inflateInit(&stream) != Z_OK) {
        return {};
    }
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = reinterpret_cast<Bytef*>(text.data());
    stream.avail_out = static_cast<uInt>(text.size());
    const bool whole = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_out > 0;
    text.resize(whole ? text.size() - stream.avail_out : 0);
    inflateEnd(&stream);
    return text;
}

// The text of an iTXt chunk after its keyword: two flags, language, keyword in that language, text.
std::string international(std::string_view body) {
    const std::size_t language = body.find('\0', 2);
    const std::size_t keyword = language == body.npos ? body.npos : body.find('\0', language + 1);
    if (keyword == body.npos || byte(body, 0) > 1) {
        return {};
    }
    const std::string_view text = body.substr(keyword + 1);
    return byte(body, 0) == 0 ? std::string(text) : byte(body, 1) == 0 ? unpacked(text) : std::string();
}

std::string short_enough(std::string text) { return text.size() < max_text ? text : std::string(); }

void add(Metadata& metadata, const PngChunk& chunk) {
    constexpr auto profile = "Raw profile type exif\0"sv;
    constexpr auto xmp = "XML:com.adobe.xmp\0"sv;
    const auto has_key = [&](std::string_view key) { return chunk.body.substr(0, key.size()) == key; };
    if (chunk.name == "eXIf" && !metadata.exif) {
        metadata.exif = chunk.body;
    } else if ((chunk.name == "tEXt" || chunk.name == "zTXt") && !metadata.raw_profile && has_key(profile)) {
        const std::string_view text = chunk.body.substr(profile.size());
        const bool packed = chunk.name == "zTXt";
        const bool readable = !packed || (!text.empty() && text[0] == 0);
        metadata.raw_profile = !readable ? "" : short_enough(packed ? unpacked(text.substr(1)) : std::string(text));
    } else if (chunk.name == "iTXt" && !metadata.xmp && has_key(xmp)) {
        metadata.xmp = short_enough(international(chunk.body.substr(xmp.size())));
    }
}

}  // namespace

Stripped strip_png(const EncodedImage& file) {
    Stripped result;
    std::string order;
    std::string_view header;
    std::optional<std::string_view> palette;
    PngChunks chunks(file);
    for (PngChunk chunk = chunks.next();; chunk = chunks.next()) {
        add_to_order(order, chunk.name, file);
        if (chunk.name == "IHDR") {
            check_header(header = chunk.body, file);
        } else if (chunk.name == "PLTE") {
            palette = chunk.body;
        } else if (chunk.name == "IDAT") {
            if (result.data.empty()) {
                append(result.data, signature);
                append_chunk(result.data, "IHDR", header);
                if (byte(header, 9) == palette_type) {
                    append_chunk(result.data, "PLTE", whole_palette(palette, byte(header, 8), file));
                }
            }
            append(result.data, chunk.whole);
        } else if (chunk.name == "IEND") {
            append_chunk(result.data, "IEND", {});
            return result;
        } else {
            add(result.metadata, chunk);
        }
    }
}

}  // namespace hamsa
