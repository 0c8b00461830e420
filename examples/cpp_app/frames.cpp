#include "frames.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <hamsa/hamsa.hpp>
#include <string>

Frames::Frames(int descriptor, FrameSize size)
    : descriptor_(descriptor), pixels_(static_cast<std::size_t>(size.width * size.height * 3)) {}

const std::uint8_t* Frames::next() {
    std::size_t done = 0;
    while (done < pixels_.size()) {
        const ssize_t count = ::read(descriptor_, pixels_.data() + done, pixels_.size() - done);
        // EBADF: the signal came before the call, and its handler has closed the descriptor.
        if (count < 0 && (errno == EINTR || errno == EBADF)) {
            return nullptr;
        }
        if (count < 0) {
            throw hamsa::InputError(std::string("standard input cannot be read: ") + std::strerror(errno));
        }
        if (count == 0 && done == 0) {
            return nullptr;
        }
        if (count == 0) {
            throw hamsa::InputError("the input ends after " + std::to_string(done) + " bytes of a frame",
                                    std::to_string(pixels_.size()) + " bytes for each frame",
                                    "another size or pixel format than --frames says, or a source that was cut off");
        }
        done += static_cast<std::size_t>(count);
    }
    return pixels_.data();
}
