// How long things took.
#pragma once

#include <cstddef>
#include <vector>

class Latencies {
  public:
    void add(double milliseconds) { milliseconds_.push_back(milliseconds); }
    std::size_t count() const { return milliseconds_.size(); }

    // The smallest latency that at least `percent` of all do not exceed (nearest rank); 0 if there are none.
    double percentile(double percent) const;

  private:
    std::vector<double> milliseconds_;
};
