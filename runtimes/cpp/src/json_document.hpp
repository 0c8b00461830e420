#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace hamsa {

inline constexpr std::size_t max_manifest_bytes = std::size_t{4} << 20;
inline constexpr int max_manifest_depth = 32;

// JSON within limits of size and depth, without duplicate names, NaN or infinity. InputError for anything else.
nlohmann::json json_document(const std::string& data);

}  // namespace hamsa
