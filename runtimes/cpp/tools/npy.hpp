// Arrays as numpy saves them: version 1 files of C-ordered arrays.
#pragma once

#include <filesystem>

#include "hamsa/tensor.hpp"

// InputError: not such a file, or of a dtype that no bundle takes.
hamsa::Tensor read_npy(const std::filesystem::path& path);

void write_npy(const std::filesystem::path& path, const hamsa::Tensor& tensor);
