// Images from inside: limits, conversions, and the resize and crop that a manifest asks for.
#pragma once

#include <cstdint>
#include <string>

#include "hamsa/image.hpp"
#include "manifest.hpp"

namespace hamsa {

// The limit of the Python runtime: what a phone's sensor has, 302 MB while it is being turned.
inline constexpr std::int64_t max_pixels = 8192 * 6144;

// InputError: more than `most`.
void check_size(std::int64_t width, std::int64_t height, const std::string& name, std::int64_t most = max_pixels);

// An image that is being made; `image()` then shares its memory. Rows have no gaps.
class NewImage {
  public:
    NewImage(std::int64_t height, std::int64_t width, std::int64_t channels);

    std::uint8_t* row(std::int64_t y) { return memory_.get() + y * width_ * channels_; }
    Image image() const { return Image(memory_.get(), height_, width_, channels_, 0, memory_); }

  private:
    std::int64_t height_, width_, channels_;
    std::shared_ptr<std::uint8_t> memory_;
};

// Grey to RGB by repeating it, or RGB to grey (ITU-R BT.601, in 16-bit fixed point); the image itself if it is that
// already.
Image with_channels(const Image& image, std::int64_t channels);

// Scales until the image covers size / crop_fraction, and cuts the centre: (height, width, channels) of the manifest,
// written to `pixels`. An image of the model's own size is only copied when crop_fraction is 1.
void resize_and_crop(const Image& image, const Preprocessing& how, std::uint8_t* pixels);

}  // namespace hamsa
