// Test data, and copies of it that a test may spoil.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

inline const std::filesystem::path data_folder = HAMSA_TEST_DATA;

inline std::string text_of(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

inline void write(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

inline std::string replaced(std::string text, const std::string& old, const std::string& with) {
    const std::size_t at = text.find(old);
    return at == std::string::npos ? "" : text.replace(at, old.size(), with);
}

// A copy of a bundle in a folder with spaces and letters of many kinds; removed at the end.
class BundleCopy {
  public:
    explicit BundleCopy(const std::string& name) {
        std::string pattern = (std::filesystem::temp_directory_path() / "hamsa Größe №1 XXXXXX").string();
        root_ = mkdtemp(pattern.data());
        std::filesystem::copy(data_folder / name, folder(), std::filesystem::copy_options::recursive);
    }
    ~BundleCopy() {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }
    BundleCopy(const BundleCopy&) = delete;
    BundleCopy& operator=(const BundleCopy&) = delete;

    std::filesystem::path root() const { return root_; }
    std::filesystem::path folder() const { return root_ / "bundle"; }

  private:
    std::filesystem::path root_;
};
