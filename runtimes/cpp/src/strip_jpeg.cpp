#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "images.hpp"
#include "strip.hpp"

namespace hamsa {
namespace {

using namespace std::string_view_literals;

constexpr std::int64_t max_scans = 100, max_scanned = 1'000'000'000;

constexpr int end_of_image = 0xD9, scan = 0xDA;

bool is_frame(int code) { return code >= 0xC0 && code <= 0xC2; }
bool is_table(int code) { return code == 0xC4 || code == 0xDB || code == 0xDD; }  // DHT, DQT, DRI
bool is_restart(int code) { return code >= 0xD0 && code <= 0xD7; }
bool is_ignored(int code) {  // DAC, DNL, COM, APPn
    return code == 0xCC || code == 0xDC || code == 0xFE || (code >= 0xE0 && code <= 0xEF);
}

struct Segment {
    int code;
    std::size_t at;  // its marker
    std::string_view body;
};

class Segments {
  public:
    explicit Segments(const EncodedImage& file) : file_(file) {}

    // The next one; the last is the end of the image.
    Segment next() {
        for (; parts_ < max_parts; ++parts_) {
            const int code = to_marker();
            if (code == 0x01 || is_restart(code)) {
                continue;
            }
            ++parts_;
            return code == end_of_image ? Segment{code, at_ - 2, {}} : with_body(code);
        }
        throw damaged(file_, "more than " + std::to_string(max_parts) + " segments");
    }

  private:
    // Past the next marker, which neither fill bytes, nor stuffed ones, nor restarts within a scan are.
    int to_marker() {
        for (; at_ + 1 < file_.size; ++at_) {
            const int code = file_.data[at_ + 1];
            const bool is_marker = file_.data[at_] == 0xFF && code != 0 && code != 0xFF;
            if (is_marker && !(in_scan_ && is_restart(code))) {
                at_ += 2;
                return code;
            }
        }
        throw truncated(file_);
    }

    Segment with_body(int code) {
        if (!is_frame(code) && !is_table(code) && !is_ignored(code) && code != scan) {
            throw damaged(file_, "marker " + std::to_string(code) + ", which is no part of a Huffman-coded JPEG");
        }
        const std::size_t left = file_.size - at_;
        const std::size_t length = left < 2 ? 0 : static_cast<std::size_t>(file_.data[at_] << 8 | file_.data[at_ + 1]);
        if (length < 2 || length > left) {
            throw truncated(file_);
        }
        in_scan_ = in_scan_ || code == scan;
        const Segment segment{
            code, at_ - 2, {reinterpret_cast<const char*>(file_.data) + at_ + 2, length - 2}};
        at_ += length;
        return segment;
    }

    EncodedImage file_;
    std::size_t at_ = 2;
    int parts_ = 0;
    bool in_scan_ = false;
};

// Follows how much its scans say of each component: the bits of a mask are coefficients that are known in full.
class Frame {
  public:
    Frame(const Segment& segment, const EncodedImage& file)
        : file_(file), body_(segment.body), is_progressive_(segment.code == 0xC2) {
        if (body_.size() < 6) {
            throw truncated(file);
        }
        const int bits = byte(body_, 0), layers = byte(body_, 5);
        if (bits != 8) {
            throw damaged(file, "cannot handle " + std::to_string(bits) + "-bit layers");
        }
        if ((layers != 1 && layers != 3 && layers != 4) || body_.size() != 6 + 3 * static_cast<std::size_t>(layers)) {
            throw damaged(file, "cannot handle " + std::to_string(layers) + "-layer images");
        }
        const std::int64_t height = byte(body_, 1) << 8 | byte(body_, 2);
        const std::int64_t width = byte(body_, 3) << 8 | byte(body_, 4);
        check_file_size(width, height, file);
        pixels_ = width * height;
        known_.resize(static_cast<std::size_t>(layers));
    }

    void add_scan(std::string_view body) {
        ++scans_;
        if (scans_ > max_scans || scans_ * pixels_ > max_scanned) {
            throw damaged(file_, "more than " + std::to_string(max_scans) + " scans, or " +
                                     std::to_string(max_scanned) + " pixels in scans");
        }
        const auto layers = static_cast<std::size_t>(body.empty() ? 0 : byte(body, 0));
        if (body.size() != 4 + 2 * layers) {
            throw damaged(file_, "a scan of another length");
        }
        const std::uint64_t known = known_in(body.substr(body.size() - 3));
        for (std::size_t i = 0; i < known_.size(); ++i) {
            bool is_named = layers == known_.size();
            for (std::size_t named = 0; named < layers; ++named) {
                is_named = is_named || body[1 + 2 * named] == body_[6 + 3 * i];
            }
            known_[i] |= is_named ? known : 0;
        }
    }

    void check_end() const {
        if (std::any_of(known_.begin(), known_.end(), [](std::uint64_t known) { return known != all; })) {
            throw damaged(file_, "scans are missing");
        }
    }

  private:
    static constexpr std::uint64_t all = ~std::uint64_t{0};

    static int byte(std::string_view bytes, std::size_t at) { return static_cast<std::uint8_t>(bytes[at]); }

    // By a scan's first and last coefficient, and the lowest of their bits.
    std::uint64_t known_in(std::string_view range) const {
        if (!is_progressive_) {
            return all;
        }
        const int first = byte(range, 0), last = byte(range, 1), low = byte(range, 2) & 15;
        if (first > last || last > 63) {
            throw damaged(file_, "a scan of coefficients " + std::to_string(first) + " to " + std::to_string(last));
        }
        return low != 0 ? 0 : all >> (63 - last) & all << first;
    }

    EncodedImage file_;
    std::string_view body_;
    bool is_progressive_;
    std::int64_t pixels_ = 0, scans_ = 0;
    std::vector<std::uint64_t> known_;
};

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

// What libjpeg needs before the first scan.
bool is_kept(const Segment& segment) {
    const bool is_jfif = segment.code == 0xE0 && starts_with(segment.body, "JFIF\0"sv) && segment.body.size() >= 14;
    const bool is_adobe = segment.code == 0xEE && starts_with(segment.body, "Adobe"sv) && segment.body.size() >= 12;
    return is_jfif || is_adobe || is_frame(segment.code) || is_table(segment.code);
}

void add(Metadata& metadata, const Segment& segment) {
    constexpr auto exif = "Exif\0\0"sv;
    constexpr auto xmp = "http://ns.adobe.com/xap/1.0/\0"sv;
    if (segment.code == 0xE1 && !metadata.exif && starts_with(segment.body, exif)) {
        metadata.exif = segment.body.substr(exif.size());
    } else if (segment.code == 0xE1 && !metadata.xmp && starts_with(segment.body, xmp)) {
        metadata.xmp = segment.body.substr(xmp.size());
    }
}

}  // namespace

Stripped strip_jpeg(const EncodedImage& file) {
    Stripped result;
    const auto keep = [&](std::size_t from, std::size_t to) {
        result.data.insert(result.data.end(), file.data + from, file.data + to);
    };
    keep(0, 2);
    std::optional<Frame> frame;
    std::optional<std::size_t> first;
    Segments segments(file);
    Segment segment = segments.next();
    for (; segment.code != end_of_image; segment = segments.next()) {
        if (is_frame(segment.code)) {
            if (frame) {
                throw damaged(file, "more than one frame");
            }
            frame.emplace(segment, file);
        }
        if (segment.code == scan) {
            if (!frame) {
                throw damaged(file, "a scan before the frame");
            }
            frame->add_scan(segment.body);
            first = first.value_or(segment.at);
        } else if (!first) {
            if (is_kept(segment)) {
                keep(segment.at, segment.at + 4 + segment.body.size());
            }
            add(result.metadata, segment);
        }
    }
    if (!frame) {
        throw damaged(file, "no pixels");
    }
    frame->check_end();
    keep(*first, segment.at + 2);
    return result;
}

}  // namespace hamsa
