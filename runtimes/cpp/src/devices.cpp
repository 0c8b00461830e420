#include "devices.hpp"

#include <algorithm>

#include "hamsa/error.hpp"
#include "names.hpp"

namespace hamsa {
namespace {

constexpr const char* grammar = "a name such as CPU, GPU.1 or cuda:0, or AUTO, or HETERO:GPU,CPU";

std::string raised(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    return text;
}

bool is_word(const std::string& text) {
    return !text.empty() && text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos;
}

// False for what is no name.
bool read_name(const std::string& text, DeviceName& name) {
    const std::size_t dot = text.find_first_of(".:");
    name.kind = text.substr(0, dot);
    name.which = dot == std::string::npos ? "" : text.substr(dot + 1);
    const bool begins = is_word(name.kind) && name.kind[0] >= 'A';
    return begins && name.kind != "AUTO" && name.kind != "HETERO" && (dot == std::string::npos || is_word(name.which));
}

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    std::size_t start = 0;
    for (std::size_t end = 0; end != std::string::npos; start = end + 1) {
        end = text.find(',', start);
        parts.push_back(text.substr(start, end == std::string::npos ? end : end - start));
    }
    return parts;
}

}  // namespace

std::string Device::text() const {
    std::vector<std::string> parts;
    std::transform(names.begin(), names.end(), std::back_inserter(parts), [](const auto& name) { return name.text(); });
    const std::string all = joined(parts, ",");
    const std::string head = choice == Choice::none ? "" : choice == Choice::any ? "AUTO" : "HETERO";
    return head.empty() || all.empty() ? head + all : head + ":" + all;
}

Device device_from(const std::string& text) {
    const std::string upper = raised(text);
    if (upper == "AUTO") {
        return {Device::Choice::any, {}};
    }
    Device device;
    std::vector<std::string> parts{upper};
    if (upper.rfind("AUTO:", 0) == 0 || upper.rfind("HETERO:", 0) == 0) {
        device.choice = upper[0] == 'A' ? Device::Choice::any : Device::Choice::split;
        parts = split(upper.substr(upper.find(':') + 1));
    }
    bool good = true;
    for (const std::string& part : parts) {
        DeviceName name;
        good = good && read_name(part, name);
        good = good && std::find(device.names.begin(), device.names.end(), name) == device.names.end();
        device.names.push_back(name);
    }
    if (!good) {
        throw InputError("device is " + repr(text), grammar);
    }
    return device;
}

DeviceName only_name(const std::string& text, const std::string& engine) {
    const Device device = device_from(text);
    if (device.choice != Device::Choice::none) {
        throw InputError("device is " + repr(text),
                         "one name: " + engine + " neither chooses a device nor splits a model");
    }
    return device.names[0];
}

}  // namespace hamsa
