// Raw RGB frames from a file descriptor: rows from top to bottom, 3 bytes for each pixel, no gaps.
#pragma once

#include <cstdint>
#include <vector>

#include "arguments.hpp"

class Frames {
  public:
    Frames(int descriptor, FrameSize size);

    // Waits for the next frame, in memory that the one after it reuses; nullptr at the end, or after a signal.
    // hamsa::InputError: the input ends inside of a frame, or cannot be read.
    const std::uint8_t* next();

  private:
    int descriptor_;
    std::vector<std::uint8_t> pixels_;
};
