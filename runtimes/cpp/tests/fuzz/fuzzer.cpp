// Coverage-guided fuzzing of one target, by libFuzzer, which brings main(): make fuzz-cpp.
#include "targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    hamsa::fuzz::is_taken(HAMSA_FUZZ_TARGET, data, size);
    return 0;
}
