// Every input of the corpus, and every crasher that was found. Argument: the folder of the corpus.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "targets.hpp"

namespace {

namespace fs = std::filesystem;

// The good ones are taken: a fuzzer that starts from refused inputs tries nothing behind the first check. FLAC and WebP
// take libraries that may not be there.
bool must_be_taken(const fs::path& path) {
    const std::string name = path.filename().string();
    return name.rfind("crash-", 0) != 0 && name.rfind("webp", 0) != 0 && name != "flac";
}

bool holds(const std::string& target, const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    const std::vector<char> data((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    try {
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(data.data());
        const bool taken = hamsa::fuzz::is_taken(target, bytes, data.size());
        if (taken || !must_be_taken(path)) {
            return true;
        }
        std::printf("%s: refused\n", path.c_str());
    } catch (const std::exception& error) {
        std::printf("%s: %s\n", path.c_str(), error.what());
    }
    return false;
}

}  // namespace

int main(int count, char** words) {
    if (count != 2) {
        std::fprintf(stderr, "usage: hamsa_replay CORPUS\n");
        return 2;
    }
    int failed = 0;
    for (const std::string& target : hamsa::fuzz::targets()) {
        int inputs = 0;
        for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(words[1]) / target)) {
            failed += holds(target, entry.path()) ? 0 : 1;
            ++inputs;
        }
        std::printf("%s: %d inputs\n", target.c_str(), inputs);
        failed += inputs == 0 ? 1 : 0;
    }
    return failed == 0 ? 0 : 1;
}
