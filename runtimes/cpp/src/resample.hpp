// Antialiased resizing of 8-bit images.
//
// With n input and m output pixels along an axis, s = max(n / m, 1) and a kernel h of support r, output pixel i lies at
// c = (i + 1/2) n / m and is the weighted mean of the input pixels whose centres are within s r of it:
//
//     y[i] = sum_j w[i, j] x[j],    w[i, j] = h((j + 1/2 - c) / s) / sum_j h((j + 1/2 - c) / s)
//
// (Keys, "Cubic convolution interpolation", 1981, for the bicubic h with a = -1/2.) One axis after the other. Weights
// are rounded to multiples of 2^-22, sums are of integers, and both passes round to 8 bits: so the result is the same
// on every machine, and the same as that of Pillow 13, which the Python runtime uses.
#pragma once

#include <string>

#include "hamsa/image.hpp"

namespace hamsa {

struct Filter {
    double (*weight)(double distance);
    double support;
};

// "bilinear" or "bicubic".
const Filter& filter_named(const std::string& name);

Image resampled(const Image& image, std::int64_t height, std::int64_t width, const Filter& filter);

}  // namespace hamsa
