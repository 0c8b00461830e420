#include "schema.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "names.hpp"

namespace hamsa::schema {
namespace {

constexpr std::size_t shown_length = 80;

std::string shown(const Json& value);

// Enough of a list or an object to fill a line: values may be megabytes.
template <typename Each>
std::string shown_items(const Json& value, char open, char close, Each each) {
    std::string result(1, open);
    for (auto item = value.begin(); item != value.end() && result.size() <= 4 * shown_length; ++item) {
        result += (item == value.begin() ? "" : ", ") + each(item);
    }
    return result + close;
}

std::string shown(const Json& value) {
    using Item = Json::const_iterator;
    if (value.is_object()) {
        return shown_items(value, '{', '}',
                           [](const Item& item) { return repr(item.key()) + ": " + shown(item.value()); });
    }
    if (value.is_array()) {
        return shown_items(value, '[', ']', [](const Item& item) { return shown(*item); });
    }
    if (value.is_string()) {
        return repr(value.get_ref<const std::string&>().substr(0, 4 * shown_length));
    }
    if (value.is_boolean()) {
        return value.get<bool>() ? "True" : "False";
    }
    return value.is_null() ? "None" : value.dump();
}

// The first `count` characters of a UTF-8 text.
std::string first_characters(const std::string& text, std::size_t count) {
    std::size_t end = 0;
    for (std::size_t seen = 0; end < text.size(); ++end) {
        const bool starts = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
        if (starts && seen++ == count) {
            break;
        }
    }
    return text.substr(0, end);
}

bool is_text(const Json& value) {
    return value.is_string() && value.get_ref<const std::string&>().find('\0') == std::string::npos;
}

bool is_number(const Json& value) { return value.is_number() && std::isfinite(value.get<double>()); }

bool is_integer(const Json& value, std::int64_t low) {
    if (value.is_number_unsigned()) {
        const auto found = value.get<std::uint64_t>();
        return found <= static_cast<std::uint64_t>(max_integer) && static_cast<std::int64_t>(found) >= low;
    }
    return value.is_number_integer() && value.get<std::int64_t>() >= low;
}

void json_value(const Json& value, const std::string& where) {
    if (value.is_object()) {
        dict_of(json_value)(value, where);
    } else if (value.is_array()) {
        list_of(json_value)(value, where);
    } else {
        scalar(value, where);
    }
}

std::vector<std::string> names_of(const std::vector<Field>& fields) {
    std::vector<std::string> names;
    for (const Field& field : fields) {
        names.push_back(field.name);
    }
    return names;
}

void check_elements(const Check& inner, const Json& value, const std::string& where) {
    for (std::size_t i = 0; i < value.size(); ++i) {
        inner(value[i], where + "[" + std::to_string(i) + "]");
    }
}

void check_no_unknown(const Json& value, const std::string& dot, const std::vector<std::string>& known) {
    for (const auto& item : value.items()) {
        if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
            const std::string name = first_characters(dot + item.key(), shown_length);
            throw InputError("manifest.json: unknown key " + repr(name), "only " + joined(known),
                             "a misspelling, or a bundle written by a newer version", nearest(item.key(), known));
        }
    }
}

}  // namespace

InputError rejected_text(const std::string& shown, const std::string& where, const std::string& expected,
                         const std::string& fix) {
    const bool fits = first_characters(shown, shown_length) == shown;
    const std::string value = fits ? shown : first_characters(shown, shown_length - 3) + "...";
    return InputError("manifest.json: " + (where.empty() ? "the whole file" : where) + " is " + value, expected, "",
                      fix);
}

InputError rejected(const Json& value, const std::string& where, const std::string& expected, const std::string& fix) {
    return rejected_text(shown(value), where, expected, fix);
}

void text(const Json& value, const std::string& where) {
    if (!is_text(value)) {
        throw rejected(value, where, "a text");
    }
}

void number(const Json& value, const std::string& where) {
    if (!is_number(value)) {
        throw rejected(value, where, "a finite number");
    }
}

void boolean(const Json& value, const std::string& where) {
    if (!value.is_boolean()) {
        throw rejected(value, where, "true or false");
    }
}

void scalar(const Json& value, const std::string& where) {
    if (!value.is_null() && !value.is_boolean() && !is_text(value) && !is_number(value)) {
        throw rejected(value, where, "a text, a number, true, false or null");
    }
}

void json_object(const Json& value, const std::string& where) { dict_of(json_value)(value, where); }

Check integer(std::int64_t low) {
    return [low](const Json& value, const std::string& where) {
        if (!is_integer(value, low)) {
            throw rejected(value, where, "a whole number of at least " + std::to_string(low));
        }
    };
}

Check one_of(std::vector<std::string> names) {
    return [names = std::move(names)](const Json& value, const std::string& where) {
        const bool found = value.is_string() && std::find(names.begin(), names.end(), value) != names.end();
        if (!found) {
            std::vector<std::string> valid;
            std::transform(names.begin(), names.end(), std::back_inserter(valid),
                           [](const std::string& name) { return repr(name); });
            const std::string fix = value.is_string() ? nearest(value.get<std::string>(), names) : "";
            throw rejected(value, where, "one of " + joined(valid), fix);
        }
    };
}

Check one_of(std::vector<std::int64_t> numbers) {
    return [numbers = std::move(numbers)](const Json& value, const std::string& where) {
        std::vector<std::string> valid;
        for (const std::int64_t each : numbers) {
            if (value.is_number_integer() && value == each) {
                return;
            }
            valid.push_back(std::to_string(each));
        }
        const std::string fix = value.is_string() ? nearest(value.get<std::string>(), valid) : "";
        throw rejected(value, where, "one of " + joined(valid), fix);
    };
}

Check nullable(Check inner) {
    return [inner = std::move(inner)](const Json& value, const std::string& where) {
        if (!value.is_null()) {
            inner(value, where);
        }
    };
}

Check list_of(Check inner) {
    return [inner = std::move(inner)](const Json& value, const std::string& where) {
        if (!value.is_array()) {
            throw rejected(value, where, "a list");
        }
        check_elements(inner, value, where);
    };
}

Check list_of(Check inner, std::size_t length) {
    return [inner = std::move(inner), length](const Json& value, const std::string& where) {
        if (!value.is_array() || value.size() != length) {
            throw rejected(value, where, "a list of " + std::to_string(length));
        }
        check_elements(inner, value, where);
    };
}

Check dict_of(Check inner, Check key) {
    return [inner = std::move(inner), key = std::move(key)](const Json& value, const std::string& where) {
        if (!value.is_object()) {
            throw rejected(value, where, "an object");
        }
        for (const auto& item : value.items()) {
            key(item.key(), where + ": the name");
            inner(item.value(), where + "." + item.key());
        }
    };
}

Check record(const std::vector<Field>& fields, const std::vector<Field>& optional) {
    std::vector<Field> all = fields;
    all.insert(all.end(), optional.begin(), optional.end());
    return [all = std::move(all), required = names_of(fields)](const Json& value, const std::string& where) {
        if (!value.is_object()) {
            throw rejected(value, where, "an object with " + joined(required));
        }
        std::string dot = where;
        dot += where.empty() ? "" : ".";
        check_no_unknown(value, dot, names_of(all));
        for (const std::string& name : required) {
            if (!value.contains(name)) {
                std::string found = "manifest.json: ";
                found.append(dot).append(name).append(" is missing");
                throw InputError(found, joined(required));
            }
        }
        for (const Field& field : all) {
            if (value.contains(field.name)) {
                field.check(value[field.name], dot + field.name);
            }
        }
    };
}

}  // namespace hamsa::schema
