#include "latencies.hpp"

#include <algorithm>
#include <cmath>

double Latencies::percentile(double percent) const {
    if (milliseconds_.empty()) {
        return 0;
    }
    std::vector<double> sorted = milliseconds_;
    std::sort(sorted.begin(), sorted.end());
    const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
    return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}
