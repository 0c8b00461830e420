#include "softmax.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "arrays.hpp"

namespace hamsa {
namespace {

// sign * (1 + mantissa / 2^10) * 2^(exponent - 15); exponent 0: denormal, exponent 31: infinity and NaN.
double from_float16(std::uint16_t bits) {
    const int exponent = (bits >> 10) & 31;
    const int mantissa = bits & 1023;
    double value = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    if (exponent == 31) {
        value = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
    }
    return (bits & 0x8000) != 0 ? -value : value;
}

std::vector<double> doubles_of(const Tensor& tensor) {
    std::vector<double> values(tensor.count());
    if (tensor.dtype() == DType::float16) {
        const auto* bits = static_cast<const std::uint16_t*>(tensor.data());
        std::transform(bits, bits + values.size(), values.begin(), from_float16);
    } else if (tensor.dtype() == DType::float64) {
        std::copy_n(tensor.as<double>(), values.size(), values.begin());
    } else {
        std::copy_n(tensor.as<float>(), values.size(), values.begin());
    }
    return values;
}

std::vector<Label> best_of(const double* logits, std::size_t count, const std::vector<std::string>& labels,
                           std::size_t top) {
    const double highest = *std::max_element(logits, logits + count);
    std::vector<double> powers(count);
    std::transform(logits, logits + count, powers.begin(), [=](double logit) { return std::exp(logit - highest); });
    const double sum = std::accumulate(powers.begin(), powers.end(), 0.0);
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return powers[a] > powers[b]; });
    std::vector<Label> best;
    for (std::size_t i = 0; i < std::min(top, count); ++i) {
        best.push_back({labels.empty() ? std::to_string(order[i]) : labels[order[i]], powers[order[i]] / sum});
    }
    return best;
}

}  // namespace

std::vector<std::vector<Label>> best_labels(const Tensor& logits, const std::vector<std::string>& labels,
                                            std::size_t top) {
    const Shape& shape = logits.shape();
    const auto classes = static_cast<std::size_t>(shape.empty() ? 1 : shape.back());
    const std::size_t expected = labels.empty() ? classes : labels.size();
    if (shape.size() != 2 || expected != classes) {
        throw InputError("the output has shape " + shown(shape),
                         "(images, " + std::to_string(expected) + "), one for each label");
    }
    const std::vector<double> values = doubles_of(logits);
    std::vector<std::vector<Label>> rows;
    for (std::size_t start = 0; start < values.size(); start += classes) {
        rows.push_back(best_of(values.data() + start, classes, labels, top));
    }
    return rows;
}

}  // namespace hamsa
