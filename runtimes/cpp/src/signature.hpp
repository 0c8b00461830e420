// The signature of a bundle: manifest.sig, Ed25519 (RFC 8032) over the bytes of manifest.json, 64 bytes.
#pragma once

#include <filesystem>
#include <string>

namespace hamsa {

// Verifies the signature in a bundle's folder by the public key in a PEM file (SubjectPublicKeyInfo); nothing is parsed
// but the key. InputError: the key cannot be read or is not a public Ed25519 key; or the bundle is not signed, was
// changed since, or was signed with another key.
void check_signature(const std::filesystem::path& folder, const std::string& manifest,
                     const std::filesystem::path& public_key);

}  // namespace hamsa
