// Limits of time and memory for a process that runs a stranger's bundle, as the Python runtime's trial.py has for one
// that tries it: a model can be made to run without end, and engines compute what is constant while they load.
//
// Memory is what the process writes to (RLIMIT_DATA), not addresses, of which libraries reserve many.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "hamsa/hamsa.hpp"

// Of files, and of all in folders that is not hidden, which no bundle has a say in.
inline std::uintmax_t bytes_below(const std::vector<std::string>& paths) {
    namespace fs = std::filesystem;
    std::uintmax_t bytes = 0;
    std::error_code ignored;
    const auto add = [&](const fs::path& path) {
        const std::uintmax_t size = fs::is_regular_file(path, ignored) ? fs::file_size(path, ignored) : 0;
        bytes += ignored ? 0 : size;
    };
    for (const std::string& path : paths) {
        add(path);
        fs::recursive_directory_iterator entry(path, ignored);
        for (const fs::recursive_directory_iterator end; !ignored && entry != end; entry.increment(ignored)) {
            if (entry->path().filename().string().rfind('.', 0) == 0) {
                entry.disable_recursion_pending();
            } else {
                add(entry->path());
            }
        }
    }
    return bytes;
}

class Limits {
  public:
    // From now on `seconds`, and one more for each 2 MiB of the `bytes` of all files, until `begin_again`, and again
    // from there.
    Limits(const std::string& bundle, std::uintmax_t bytes, int seconds)
        : bundle_(bundle), seconds_(seconds + static_cast<int>(std::min(bytes / bytes_a_second, most_seconds))), begun_(std::chrono::steady_clock::now()) {
        limit_memory(beyond + copies * bytes + stack * std::max(1U, std::thread::hardware_concurrency()));
        std::set_terminate(end_of_a_thread);
        watch_ = std::thread([this] { watch(); });
    }

    ~Limits() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            is_done_ = true;
        }
        changed_.notify_all();
        watch_.join();
    }

    Limits(const Limits&) = delete;
    Limits& operator=(const Limits&) = delete;

    void begin_again() {
        const std::lock_guard<std::mutex> lock(mutex_);
        begun_ = std::chrono::steady_clock::now();
    }

    // How OpenVINO says that an allocation failed, in an error of no class of its own.
    static bool is_out_of_memory(const hamsa::Error& error) {
        static constexpr std::array<std::string_view, 4> words{"bad_alloc", "Failed to allocate", "bytes of memory",
                                                               "source memory"};
        const std::string_view what = error.what();
        return limit_ > 0 && std::any_of(words.begin(), words.end(), [&](std::string_view each) {
                   return what.find(each) != std::string_view::npos;
               });
    }

    // Its exit code.
    static int say_out_of_memory() {
        return say("it needs more memory than the " + std::to_string(limit_ >> 20) + " MiB that it may take");
    }

  private:
    static constexpr std::uintmax_t beyond = std::uintmax_t{2} << 30;
    static constexpr std::uintmax_t copies = 16;
    static constexpr std::uintmax_t bytes_a_second = std::uintmax_t{2} << 20;
    static constexpr std::uintmax_t most_seconds = 86400;
    static constexpr std::uintmax_t stack = std::uintmax_t{16} << 20;

    static int say(const std::string& found) {
        const hamsa::InputError error(
            "the model: " + found, "a model that is loaded and run within limits of time and memory",
            "a bundle that was made to run without end or to fill the memory; or a model too large for this machine",
            "--timeout SECONDS for a slow machine; --public-key, or --timeout 0, for a bundle that you trust");
        std::fprintf(stderr, "hamsa-run: %s\n", error.what());
        return error.exit_code();
    }

    // Of the engine's, whose exceptions nobody catches.
    static void end_of_a_thread() {
        try {
            if (const std::exception_ptr error = std::current_exception()) {
                std::rethrow_exception(error);
            }
        } catch (const std::bad_alloc&) {
            std::_Exit(say_out_of_memory());
        } catch (...) {  // NOLINT(bugprone-empty-catch): aborted below, as anything else is
        }
        std::abort();
    }

    static void limit_memory(std::uintmax_t more) {
        std::ifstream status("/proc/self/status");
        for (std::string word; status >> word;) {
            std::uintmax_t kib = 0;
            rlimit limit{};
            if (word == "VmData:" && status >> kib && getrlimit(RLIMIT_DATA, &limit) == 0) {
                limit.rlim_cur = std::min<std::uintmax_t>(limit.rlim_max, kib * 1024 + more);
                limit_ = setrlimit(RLIMIT_DATA, &limit) == 0 ? limit.rlim_cur : 0;
            }
        }
    }

    void watch() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (!is_done_) {
            const auto end = begun_ + std::chrono::seconds(seconds_);
            if (std::chrono::steady_clock::now() >= end) {
                std::_Exit(say(bundle_ + " did not end within " + std::to_string(seconds_) + " s"));
            }
            changed_.wait_until(lock, end);
        }
    }

    inline static std::uintmax_t limit_ = 0;

    std::string bundle_;
    int seconds_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::chrono::steady_clock::time_point begun_;
    bool is_done_ = false;
    std::thread watch_;
};
