// A bundle that Python has signed (tests/runtime/test_signature.py reads the same one), and what is refused.
#include "bundle.hpp"
#include "errors.hpp"
#include "files.hpp"
#include "hamsa/engine.hpp"

namespace fs = std::filesystem;
using hamsa::InputError;

namespace {

const fs::path public_key = data_folder / "signed.pub.pem";

InputError load_error(const fs::path& folder, const fs::path& key = public_key) {
    hamsa::Options options;
    options.public_key = key;
    return error_of<InputError>([&] { hamsa::Engine::load(folder, options); });
}

}  // namespace

TEST_CASE("a signed bundle is taken with its key, and without any") {
    const BundleCopy copy("signed");
    CHECK(hamsa::verified_files(hamsa::open_bundle(copy.folder(), public_key)).size() == 2);
    CHECK(hamsa::verified_files(hamsa::open_bundle(copy.folder())).size() == 2);
}

TEST_CASE("what was not signed with this key is refused") {
    const BundleCopy copy("signed");
    const fs::path manifest = copy.folder() / "manifest.json", signature = copy.folder() / "manifest.sig";
    const std::string right = text_of(signature);
    std::string expected = signature.string() + ": not a signature of this manifest by the key in ";
    SUBCASE("a changed manifest") { write(manifest, text_of(manifest) + "\n"); }
    SUBCASE("a manifest that cannot be parsed: found before it is") { write(manifest, "[[[["); }
    SUBCASE("a changed signature") { write(signature, right.substr(0, 63) + static_cast<char>(right[63] ^ 1)); }
    SUBCASE("a cut one") {
        write(signature, right.substr(1));
        expected = ": less than 64 bytes";
    }
    SUBCASE("a longer one") {
        write(signature, right + "\n");
        expected = ": more than 64 bytes";
    }
    SUBCASE("none") {
        fs::remove(signature);
        expected = ": not signed, there is no manifest.sig";
    }
    CHECK(has(load_error(copy.folder()).found(), expected));
}

TEST_CASE("a file whose hash is not the signed one is refused") {
    const BundleCopy copy("signed");
    write(copy.folder() / "model.bin", "weights from elsewhere");
    CHECK(has(load_error(copy.folder()).found(), "model.bin: 22 bytes, sha256 "));
}

TEST_CASE("keys that are none") {
    const BundleCopy copy("signed");
    const fs::path key = copy.root() / "key.pem";
    CHECK(has(load_error(copy.folder(), key).found(), "no such file"));
    write(key, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    CHECK(has(load_error(copy.folder(), key).found(), "not a public key"));
    write(key, "-----BEGIN PRIVATE KEY-----\n");
    CHECK(has(load_error(copy.folder(), key).found(), "a private key"));
    write(key, std::string(100000, '-'));
    CHECK(has(load_error(copy.folder(), key).found(), "more than 65536 bytes"));
    // The identity, and points of order 2 and 8: what anybody can write is a signature for them.
    for (const char* point : {"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "7P///////////////////////////////////////38=",
                              "JuiVj8KyJ7BFw/SJ8u+Y8NXfrAXTxjM5sTgCiG1T/IU="}) {
        write(key, "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA" + std::string(point) +
                       "\n-----END PUBLIC KEY-----\n");
        CHECK(has(load_error(copy.folder(), key).found(), "a key of small order"));
    }
    // An X25519 key: of the same size, and not for signatures.
    write(key,
          "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n"
          "-----END PUBLIC KEY-----\n");
    CHECK(has(load_error(copy.folder(), key).found(), "a key of another kind"));
}
