#include "manifest_tables.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "backends/backend.hpp"
#include "manifest.hpp"

namespace hamsa {
namespace {

using schema::boolean;
using schema::Check;
using schema::dict_of;
using schema::integer;
using schema::Json;
using schema::json_object;
using schema::list_of;
using schema::nullable;
using schema::number;
using schema::one_of;
using schema::record;
using schema::text;
using Names = std::vector<std::string>;

constexpr std::size_t hash_digits = 64;

void sha256(const Json& value, const std::string& where) {
    const bool is_hash = value.is_string() && value.get_ref<const std::string&>().size() == hash_digits &&
                         value.get_ref<const std::string&>().find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!is_hash) {
        throw schema::rejected(value, where, "a sha256 as 64 lower-case hexadecimal digits");
    }
}

bool stays_inside(const std::string& name) {
    std::size_t start = 0;
    while (true) {
        const std::size_t end = name.find('/', start);
        const std::string part = name.substr(start, end - start);
        if (part.empty() || part == "." || part == "..") {
            return false;
        }
        if (end == std::string::npos) {
            break;
        }
        start = end + 1;
    }
    const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
    return name.find_first_of("\\:*?\"<>|") == std::string::npos && std::none_of(name.begin(), name.end(), control);
}

// A relative path with forward slashes that cannot leave the folder on any system; not the manifest.
void file_name(const Json& value, const std::string& where) {
    text(value, where);
    const auto& name = value.get_ref<const std::string&>();
    if (!stays_inside(name)) {
        throw schema::rejected(value, where, "a relative path inside the bundle's folder, with forward slashes");
    }
    if (name == manifest_name) {
        throw schema::rejected(value, where, "a file other than the manifest: it cannot hold its own hash");
    }
}

void size(const Json& value, const std::string& where) {
    if (value == "batch") {
        return;
    }
    try {
        integer(1)(value, where);
    } catch (const InputError&) {
        throw schema::rejected(value, where, "a positive whole number or \"batch\"");
    }
}

const Check positive = integer(1);

Check port(bool with_layout) {
    std::vector<schema::Field> fields{
        {"name", text},
        {"dtype", one_of(Names{"bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"})},
        {"shape", list_of(size)},
    };
    if (with_layout) {
        fields.push_back({"layout", nullable(one_of(Names{"NHWC", "NCHW"}))});
    }
    return record(fields);
}

Check model() {
    return record({
        {"reference", text},
        {"config", json_object},
        {"weights", nullable(record({{"file", text}, {"sha256", sha256}}))},
        {"parameters", integer(0)},
    });
}

Check preprocessing() {
    return record({
        {"size", list_of(positive, 2)},
        {"channels", one_of(std::vector<std::int64_t>{1, 3})},
        {"resize", one_of(Names{"bicubic", "bilinear"})},
        {"crop_fraction", number},
        {"mean", list_of(number)},
        {"std", list_of(number)},
        {"normalise", one_of(Names{"graph", "runtime"})},
    });
}

Check transform() {
    const Check measurement = record({{"factors", list_of(positive)}, {"milliseconds", number}});
    return record({{"module", text}, {"length", positive}, {"factors", list_of(positive)}, {"kind", text}},
                  {{"columns", nullable(positive)}, {"measured", list_of(measurement)}});
}

Check parity() {
    return record(
        {
            {"reference", text},
            {"images", integer(0)},
            {"metrics", json_object},
            {"thresholds", json_object},
            {"passed", boolean},
        },
        {{"engine", nullable(text)}, {"note", text}});
}

Check execution() {
    return record({
        {"device", text},
        {"batch", positive},
        {"products", dict_of(positive)},
        {"others", dict_of(positive)},
        {"conversions", integer(0)},
        {"not_int8", list_of(text)},
        {"milliseconds", number},
        {"float32_milliseconds", number},
        {"ratio", number},
    });
}

Check engine() {
    const Check achieved = record({{"layers", dict_of(positive)}, {"fused", integer(0)}, {"fell_back", list_of(text)}});
    return record({
        {"missing", text},
        {"module", text},
        {"version", text},
        {"system", text},
        {"gpu", nullable(text)},
        {"compute_capability", nullable(text)},
        {"seconds", number},
        {"asked", dict_of(positive)},
        {"achieved", nullable(achieved)},
    });
}

}  // namespace

Check manifest_check() {
    return record(
        {
            {"schema", one_of(std::vector<std::int64_t>{1})},
            {"name", text},
            {"model", model()},
            {"inputs", list_of(port(true))},
            {"outputs", list_of(port(false))},
            {"preprocessing", nullable(preprocessing())},
            {"labels", nullable(list_of(text))},
            {"target", one_of(all_targets())},
            {"precision", one_of(Names{"fp32", "fp16", "bf16", "int8"})},
            {"options", dict_of(schema::scalar)},
            {"plan", list_of(transform())},
            {"files", dict_of(record({{"sha256", sha256}, {"bytes", integer(0)}}), file_name)},
            {"versions", dict_of(text)},
            {"calibration", nullable(json_object)},
            {"parity", nullable(parity())},
        },
        {
            {"islands", dict_of(text)},
            {"execution", nullable(execution())},
            {"engine", nullable(engine())},
        });
}

}  // namespace hamsa
