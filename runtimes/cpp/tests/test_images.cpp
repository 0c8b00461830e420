// Bounds and orientation. Equality with Pillow is tested in tests/cpp/test_images.py.
#include <array>
#include <numeric>

#include "errors.hpp"
#include "files.hpp"
#include "images.hpp"
#include "orientation.hpp"
#include "resample.hpp"

using hamsa::Image;
using hamsa::InputError;

namespace {

std::vector<std::uint8_t> pixels_of(const Image& image) {
    std::vector<std::uint8_t> pixels;
    for (std::int64_t y = 0; y < image.height(); ++y) {
        pixels.insert(pixels.end(), image.row(y), image.row(y) + image.width() * image.channels());
    }
    return pixels;
}

using Bytes = std::vector<std::uint8_t>;

// One entry: orientation, a short, 6.
const std::string little("II\x2A\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", 22);
const std::string big("MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 22);

int of_exif(const std::string& exif) { return hamsa::orientation_of({exif, {}, {}}); }

}  // namespace

TEST_CASE("EXIF of both byte orders, cut anywhere, never reads past its end") {
    for (const std::string& exif : {little, big}) {
        CHECK(of_exif(exif) == 6);
        for (std::size_t size = 0; size < 20; ++size) {
            CHECK(of_exif(exif.substr(0, size)) == 1);
        }
    }
    std::string lying = little;
    lying.replace(4, 4, 4, '\xFF');  // a directory at 4 GiB
    CHECK(of_exif(lying) == 1);
    lying = little;
    lying[10] = 0;
    lying[8] = lying[9] = '\xFF';  // 65535 entries
    CHECK(of_exif(lying) == 1);
    lying = little;
    lying[18] = 9;
    CHECK(of_exif(lying) == 1);
}

TEST_CASE("of EXIF, a raw profile and XMP the first that says it counts") {
    const std::string xmp = "<a tiff:Orientation=\"8\"/>";
    const std::string profile = "\nexif\n 1\n4d4d\n002A00000008 0001011200030000000100030000";
    CHECK(hamsa::orientation_of({little, profile, xmp}) == 6);
    CHECK(hamsa::orientation_of({"II", profile, xmp}) == 3);
    CHECK(hamsa::orientation_of({{}, "\nexif\n 1\n4d4", xmp}) == 8);
    CHECK(hamsa::orientation_of({{}, {}, "<tiff:Orientation>3</tiff:Orientation>"}) == 3);
    for (const char* nothing : {"=\"", "", "=\"6", "=\"65\""}) {
        CHECK(hamsa::orientation_of({{}, {}, std::string("tiff:Orientation") + nothing}) == 1);
    }
}

TEST_CASE("the eight ways to hold a camera") {
    const std::array<std::uint8_t, 6> pixels{1, 2, 3, 4, 5, 6};  // 1 2 3 / 4 5 6
    const Image image(pixels.data(), 2, 3, 1);
    const std::array<Bytes, 9> expected{{{},
                                         {1, 2, 3, 4, 5, 6},
                                         {3, 2, 1, 6, 5, 4},
                                         {6, 5, 4, 3, 2, 1},
                                         {4, 5, 6, 1, 2, 3},
                                         {1, 4, 2, 5, 3, 6},
                                         {4, 1, 5, 2, 6, 3},
                                         {6, 3, 5, 2, 4, 1},
                                         {3, 6, 2, 5, 1, 4}}};
    for (int turn = 1; turn <= 8; ++turn) {
        CAPTURE(turn);
        const Image found = hamsa::upright(image, turn);
        CHECK(pixels_of(found) == expected[static_cast<std::size_t>(turn)]);
        CHECK(found.height() == (turn >= 5 ? 3 : 2));
    }
}

TEST_CASE("rows with gaps are the same image") {
    Bytes wide(10 * 40), tight;
    std::iota(wide.begin(), wide.end(), std::uint8_t{0});
    for (int y = 0; y < 10; ++y) {
        tight.insert(tight.end(), wide.begin() + 40 * y, wide.begin() + 40 * y + 27);
    }
    const Image padded(wide.data(), 10, 9, 3, 40);
    const Image dense(tight.data(), 10, 9, 3);
    for (const char* filter : {"bilinear", "bicubic"}) {
        const auto found = hamsa::resampled(padded, 7, 13, hamsa::filter_named(filter));
        CHECK(pixels_of(found) == pixels_of(hamsa::resampled(dense, 7, 13, hamsa::filter_named(filter))));
    }
    CHECK(pixels_of(hamsa::with_channels(padded, 1)) == pixels_of(hamsa::with_channels(dense, 1)));
}

TEST_CASE("a flat image stays flat at any size") {
    const Bytes flat(17 * 5 * 3, 200);
    const Image image(flat.data(), 17, 5, 3);
    for (const auto& [height, width] : {std::pair{1, 1}, {40, 3}, {16, 5}, {17, 6}, {100, 100}}) {
        for (const char* filter : {"bilinear", "bicubic"}) {
            const Bytes found = pixels_of(hamsa::resampled(image, height, width, hamsa::filter_named(filter)));
            CHECK(found == Bytes(static_cast<std::size_t>(height * width * 3), 200));
        }
    }
}

TEST_CASE("sizes above the limit are refused before memory is asked for") {
    CHECK_NOTHROW(hamsa::check_size(hamsa::max_pixels, 1, "x"));
    CHECK_THROWS_AS(hamsa::check_size(hamsa::max_pixels, 2, "x"), InputError);
    CHECK_THROWS_AS(hamsa::check_size(INT64_MAX, INT64_MAX, "x"), InputError);
    const std::uint8_t grey = 0;
    hamsa::Preprocessing how;
    how.height = how.width = std::int64_t{1} << 53;
    how.channels = 1;
    how.resize = "bicubic";
    CHECK_THROWS_AS(hamsa::resize_and_crop(Image(&grey, 1, 1, 1), how, nullptr), InputError);
    how.height = how.width = 8;
    how.crop_fraction = 1e-300;
    CHECK_THROWS_AS(hamsa::resize_and_crop(Image(&grey, 1, 1, 1), how, nullptr), InputError);
}

TEST_CASE("files that are no images") {
    const BundleCopy copy("tiny");
    const std::filesystem::path path = copy.root() / "photo.jpg";
    const auto error = [&] { return error_of<InputError>([&] { hamsa::load_image(path); }); };
    CHECK(has(error().found(), "no such image file"));
    write(path, "");
    CHECK(has(error().found(), "not an image in a known format"));
    write(path, "SIMPLE  =                    T");
    CHECK(has(error().found(), "not an image in a known format"));
    write(path, "BM and more");
    CHECK(has(error().found(), "image file is truncated"));
    write(path, std::string("RIFF\0\0\0\0WEBP", 12));
    CHECK(has(error().found(), "no picture"));
}
