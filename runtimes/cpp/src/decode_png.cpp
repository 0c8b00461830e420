// PNG by libpng.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include "decode.hpp"
#include "hamsa/error.hpp"
#include "images.hpp"

namespace hamsa {
namespace {

// Where the library reads from, and where its errors go. It jumps back from an error: nothing with a destructor may
// live in the functions that it jumps over.
struct Source {
    const std::uint8_t* data;
    std::size_t left;
    char failure[256];
};

[[noreturn]] void fail(png_structp png, png_const_charp text) {
    auto* source = static_cast<Source*>(png_get_error_ptr(png));
    std::snprintf(source->failure, sizeof source->failure, "%s", text);
    png_longjmp(png, 1);
}

void say_nothing(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep to, std::size_t count) {
    auto* source = static_cast<Source*>(png_get_io_ptr(png));
    if (count > source->left) {
        png_error(png, "image file is truncated");
    }
    std::memcpy(to, source->data, count);
    source->data += count;
    source->left -= count;
}

class Decoder {
  public:
    explicit Decoder(const EncodedImage& file) : source_{file.data, file.size, ""} {
        png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source_, fail, say_nothing);
        info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
        if (info_ == nullptr) {
            png_destroy_read_struct(&png_, &info_, nullptr);
            throw Error("libpng cannot start", "the version of libpng that this was built with");
        }
    }
    ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    bool read_header() {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        // The file's limits have been checked.
        png_set_user_limits(png_, 0x7FFFFFFF, 0x7FFFFFFF);
        png_set_chunk_malloc_max(png_, 0);
        // Packed pixels that are too many, or have another checksum, would be a warning.
        png_set_benign_errors(png_, 0);
        png_set_read_fn(png_, &source_, read_bytes);
        png_read_info(png_, info_);
        return true;
    }

    // To 8 bits, and RGB or grey: as Pillow does it, the low bytes of 16 bits and all transparency are dropped.
    bool read_rows(png_bytepp rows) {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        png_read_image(png_, rows);
        png_read_end(png_, nullptr);
        return true;
    }

    bool convert() {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        if (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE) {
            png_set_palette_to_rgb(png_);
        } else if (png_get_bit_depth(png_, info_) < 8) {
            png_set_expand_gray_1_2_4_to_8(png_);
        }
        png_set_strip_16(png_);
        png_set_strip_alpha(png_);
        png_set_interlace_handling(png_);
        png_read_update_info(png_, info_);
        return true;
    }

    std::int64_t height() const { return png_get_image_height(png_, info_); }
    std::int64_t width() const { return png_get_image_width(png_, info_); }
    int channels() const { return png_get_channels(png_, info_); }
    bool is_deep_grey() const {
        return png_get_color_type(png_, info_) == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png_, info_) == 16;
    }
    std::string failure() const { return source_.failure; }

  private:
    Source source_;
    png_structp png_ = nullptr;
    png_infop info_ = nullptr;
};

}  // namespace

Image decode_png(const EncodedImage& file) {
    Decoder decoder(file);
    if (!decoder.read_header()) {
        throw damaged(file, decoder.failure());
    }
    if (decoder.is_deep_grey()) {
        throw InputError(file.name + ": more than 8 bits per channel (mode I;16)", "8 bits per channel");
    }
    if (!decoder.convert()) {
        throw damaged(file, decoder.failure());
    }
    NewImage image(decoder.height(), decoder.width(), decoder.channels());
    std::vector<png_bytep> rows(static_cast<std::size_t>(decoder.height()));
    for (std::size_t y = 0; y < rows.size(); ++y) {
        rows[y] = image.row(static_cast<std::int64_t>(y));
    }
    if (!decoder.read_rows(rows.data())) {
        throw damaged(file, decoder.failure());
    }
    return image.image();
}

}  // namespace hamsa
