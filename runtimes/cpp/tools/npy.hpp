// Arrays as numpy saves them: version 1 files of C-ordered arrays. Nothing is taken that the toolkit's reader in Python
// (npy_files.py) refuses; that one takes more dtypes, versions and orders.
#pragma once

#include <filesystem>

#include "hamsa/tensor.hpp"

// InputError: not such a file, damaged, longer or shorter than it says, or of a dtype that no bundle takes.
hamsa::Tensor read_npy(const std::filesystem::path& path);

void write_npy(const std::filesystem::path& path, const hamsa::Tensor& tensor);
