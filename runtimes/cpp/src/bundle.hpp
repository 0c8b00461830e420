// A bundle on disk: a folder with a manifest that lists the hash and size of every other file in it.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "manifest.hpp"

namespace hamsa {

// The bytes of a file whose hash was right. Engines load these, not the file: it may have changed since.
struct VerifiedFile {
    std::shared_ptr<const std::byte> data;
    std::size_t size = 0;

    std::string_view text() const { return {reinterpret_cast<const char*>(data.get()), size}; }
};

// What engines are given.
constexpr const char* onnx_file = "model.onnx";
constexpr const char* ir_file = "model.xml";

using VerifiedFiles = std::map<std::string, VerifiedFile>;

struct Bundle {
    std::filesystem::path folder;
    Manifest manifest;
};

// Reads the manifest. With the path of a public key it must have that key's signature, which is checked on the bytes
// that are parsed, before they are. InputError: not a folder, no manifest in it, or one that is not valid or not signed.
Bundle open_bundle(const std::filesystem::path& folder,
                   const std::optional<std::filesystem::path>& public_key = std::nullopt);

// Reads every listed file, compares its size and SHA-256, and checks that no engine could open another; nothing is
// deserialised. InputError: a file is missing, changed, cut, a link, shared with another folder, or one that is not
// listed; or the model names such a file.
VerifiedFiles verified_files(const Bundle& bundle);

}  // namespace hamsa
