// JPEG by libjpeg-turbo, which Pillow uses as well: so both runtimes see the same pixels.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <vector>

#include <jpeglib.h>  // after <cstdio>, which it needs

#include "decode.hpp"
#include "images.hpp"

namespace hamsa {
namespace {

// libjpeg reports errors by a call that must not return: it jumps back to where decoding was started. Nothing with a
// destructor may live in the functions that it jumps over.
struct Failure {
    jpeg_error_mgr manager;
    std::jmp_buf back;
    char text[JMSG_LENGTH_MAX];
};

[[noreturn]] void fail(j_common_ptr info) {
    auto* failure = reinterpret_cast<Failure*>(info->err);
    failure->manager.format_message(info, failure->text);
    std::longjmp(failure->back, 1);
}

void say_nothing(j_common_ptr) {}

// At the end of the data libjpeg would go on with grey; a file that was cut is an error.
boolean fail_at_end(j_decompress_ptr info) {
    auto* failure = reinterpret_cast<Failure*>(info->err);
    std::snprintf(failure->text, sizeof failure->text, "image file is truncated");
    std::longjmp(failure->back, 1);
}

// The default skips past the end in a loop of calls to the above.
void skip(j_decompress_ptr info, long count) {
    if (count <= 0) {
        return;
    }
    if (static_cast<std::size_t>(count) > info->src->bytes_in_buffer) {
        fail_at_end(info);
    }
    info->src->next_input_byte += count;
    info->src->bytes_in_buffer -= static_cast<std::size_t>(count);
}

class Decoder {
  public:
    explicit Decoder(const EncodedImage& file) : file_(file) {
        info_.err = jpeg_std_error(&failure_.manager);
        failure_.manager.error_exit = fail;
        failure_.manager.output_message = say_nothing;
        jpeg_create_decompress(&info_);
    }
    ~Decoder() { jpeg_destroy_decompress(&info_); }
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    bool read_header() {
        if (setjmp(failure_.back) != 0) {
            return false;
        }
        jpeg_mem_src(&info_, file_.data, static_cast<unsigned long>(file_.size));
        info_.src->fill_input_buffer = fail_at_end;
        info_.src->skip_input_data = skip;
        jpeg_read_header(&info_, TRUE);
        info_.out_color_space = color_space(info_.num_components);
        return true;
    }

    // All rows into memory of `row_bytes` each.
    bool read_rows(std::uint8_t* pixels, std::size_t row_bytes) {
        if (setjmp(failure_.back) != 0) {
            return false;
        }
        jpeg_start_decompress(&info_);
        while (info_.output_scanline < info_.output_height) {
            JSAMPROW row = pixels + info_.output_scanline * row_bytes;
            jpeg_read_scanlines(&info_, &row, 1);
        }
        jpeg_finish_decompress(&info_);
        return true;
    }

    const jpeg_decompress_struct& info() const { return info_; }
    std::string failure() const { return failure_.text; }

  private:
    static J_COLOR_SPACE color_space(int components) {
        return components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    }

    EncodedImage file_;
    jpeg_decompress_struct info_{};
    Failure failure_{};
};

// a b / 255, rounded.
unsigned scaled(unsigned a, unsigned b) {
    const unsigned product = a * b + 128;
    return (product + (product >> 8)) >> 8;
}

// Adobe stores 255 - ink. With light l = 255 - ink and black's light k, a colour is k - (255 - l) k / 255.
Image rgb_from_inverted_cmyk(const std::vector<std::uint8_t>& pixels, std::int64_t height, std::int64_t width) {
    NewImage result(height, width, 3);
    const std::uint8_t* from = pixels.data();
    for (std::int64_t y = 0; y < height; ++y) {
        std::uint8_t* to = result.row(y);
        for (std::int64_t x = 0; x < width; ++x, from += 4) {
            for (int c = 0; c < 3; ++c) {
                const unsigned black = from[3];
                *to++ = static_cast<std::uint8_t>(black - std::min(black, scaled(255U - from[c], black)));
            }
        }
    }
    return result.image();
}

}  // namespace

Image decode_jpeg(const EncodedImage& file) {
    Decoder decoder(file);
    if (!decoder.read_header()) {
        throw damaged(file, decoder.failure());
    }
    const std::int64_t height = decoder.info().image_height;
    const std::int64_t width = decoder.info().image_width;
    const int components = decoder.info().num_components;
    if (components != 1 && components != 3 && components != 4) {
        throw damaged(file, "cannot handle " + std::to_string(components) + "-layer images");
    }
    const auto row_bytes = static_cast<std::size_t>(width) * static_cast<std::size_t>(components);
    if (components == 4) {
        std::vector<std::uint8_t> pixels(row_bytes * static_cast<std::size_t>(height));
        if (!decoder.read_rows(pixels.data(), row_bytes)) {
            throw damaged(file, decoder.failure());
        }
        return rgb_from_inverted_cmyk(pixels, height, width);
    }
    NewImage image(height, width, components);
    if (!decoder.read_rows(image.row(0), row_bytes)) {
        throw damaged(file, decoder.failure());
    }
    return image.image();
}

}  // namespace hamsa
