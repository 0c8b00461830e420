#include "signature.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>

#include "hamsa/error.hpp"
#include "manifest.hpp"

namespace hamsa {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t signature_bytes = 64;
constexpr std::size_t max_key_bytes = 1 << 16;  // a PEM file has 113 bytes; more is something else

struct Free {
    void operator()(BIO* bio) const { BIO_free(bio); }
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

using Key = std::unique_ptr<EVP_PKEY, Free>;

bool is_file(const fs::path& path) {
    std::error_code ignored;
    return fs::is_regular_file(path, ignored);  // keeps pipes and devices from being opened
}

// At most one byte more than `limit`.
std::string bytes_of(const fs::path& path, std::size_t limit) {
    std::ifstream stream(path, std::ios::binary);
    std::string data(limit + 1, '\0');
    stream.read(data.data(), static_cast<std::streamsize>(data.size()));
    if (stream.bad() || (!stream && !stream.eof())) {
        throw InputError(path.string() + ": cannot be read");
    }
    data.resize(static_cast<std::size_t>(stream.gcount()));
    return data;
}

// What OpenSSL has noted about a failure is not for whoever calls it next in this thread.
Key parsed(const std::string& pem) {
    const std::unique_ptr<BIO, Free> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    Key key(bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr) : nullptr);
    ERR_clear_error();
    return key;
}

// The eight points whose eightfold is the identity (RFC 8032, 5.1), in each way to write them: a signature that anybody
// can write is valid for them. y is little-endian; the highest bit is the sign of x, which both may have.
bool is_of_small_order(EVP_PKEY* key) {
    static const std::vector<std::string> ys{
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    std::array<unsigned char, 32> bytes{};
    std::size_t size = bytes.size();
    if (EVP_PKEY_get_raw_public_key(key, bytes.data(), &size) != 1) {
        return true;  // whatever it is
    }
    bytes.back() &= 0x7f;
    std::string text;
    for (const unsigned char byte : bytes) {
        text += "0123456789abcdef"[byte >> 4];
        text += "0123456789abcdef"[byte & 15];
    }
    return std::find(ys.begin(), ys.end(), text) != ys.end();
}

Key key_from(const fs::path& path) {
    if (!is_file(path)) {
        throw InputError(path.string() + ": no such file", "a key in a PEM file");
    }
    const std::string pem = bytes_of(path, max_key_bytes);
    if (pem.size() > max_key_bytes) {
        throw InputError(path.string() + ": more than " + std::to_string(max_key_bytes) + " bytes",
                         "a key in a PEM file");
    }
    if (pem.find("PRIVATE KEY") != std::string::npos) {
        throw InputError(path.string() + ": a private key", "the public key that belongs to it", "",
                         "keep the private key away from devices; openssl pkey -in KEY.pem -pubout prints the public "
                         "one");
    }
    Key key = parsed(pem);
    if (!key) {
        throw InputError(path.string() + ": not a public key", "a PEM file, as hamsa-sign keygen writes it");
    }
    if (EVP_PKEY_base_id(key.get()) != EVP_PKEY_ED25519) {
        throw InputError(path.string() + ": a key of another kind", "an Ed25519 key");
    }
    if (is_of_small_order(key.get())) {
        throw InputError(path.string() + ": a key of small order", "a key that hamsa-sign keygen has made",
                         "a key that was made to be valid for signatures that anybody can write",
                         "get the public key of who signs your bundles");
    }
    return key;
}

std::string signature_of(const fs::path& folder) {
    const fs::path path = folder / signature_name;
    if (!is_file(path)) {
        throw InputError(folder.string() + ": not signed, there is no " + signature_name,
                         "a signed bundle, because a public key was given",
                         "it was exported anew, or whoever changed it could not sign it",
                         "get the signed bundle, or sign it where the private key is: hamsa-sign sign BUNDLE --key "
                         "KEY.pem");
    }
    std::string signature = bytes_of(path, signature_bytes);
    if (signature.size() != signature_bytes) {
        throw InputError(path.string() + ": " + (signature.size() > signature_bytes ? "more" : "less") + " than " +
                             std::to_string(signature_bytes) + " bytes",
                         "an Ed25519 signature, " + std::to_string(signature_bytes) + " bytes");
    }
    return signature;
}

const unsigned char* as_bytes(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.data()); }

bool is_signed(EVP_PKEY* key, const std::string& data, const std::string& signature) {
    const std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
    const bool right = context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key) == 1 &&
                       EVP_DigestVerify(context.get(), as_bytes(signature), signature.size(), as_bytes(data),
                                        data.size()) == 1;
    ERR_clear_error();
    return right;
}

}  // namespace

void check_signature(const fs::path& folder, const std::string& manifest, const fs::path& public_key) {
    const Key key = key_from(public_key);
    if (!is_signed(key.get(), manifest, signature_of(folder))) {
        throw InputError((folder / signature_name).string() + ": not a signature of this manifest by the key in " +
                             public_key.string(),
                         "a bundle as it was signed, and the public key of who signed it",
                         "the manifest was changed after it was signed, or it was signed with another key",
                         "get the bundle again from where it was signed; do not run this one");
    }
}

}  // namespace hamsa
