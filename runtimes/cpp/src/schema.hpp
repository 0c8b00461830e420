// Small checks of parsed JSON, to be put together into a table.
//
// A check takes a value and where it stands (such as "inputs[0].dtype"), and throws InputError saying what was found
// there and what was expected. Nothing is coerced: "1" is not 1.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "hamsa/error.hpp"

namespace hamsa::schema {

using Json = nlohmann::json;
using Check = std::function<void(const Json& value, const std::string& where)>;

struct Field {
    std::string name;
    Check check;
};

// Whole numbers beyond this are not exact in every JSON reader.
inline constexpr std::int64_t max_integer = std::int64_t{1} << 53;

// The error for a value that is not what it should be; it is shown as Python would, cut to 80 characters.
InputError rejected(const Json& value, const std::string& where, const std::string& expected,
                    const std::string& fix = "");
InputError rejected_text(const std::string& shown, const std::string& where, const std::string& expected,
                         const std::string& fix = "");

void text(const Json& value, const std::string& where);
void number(const Json& value, const std::string& where);
void boolean(const Json& value, const std::string& where);
// A text, a number, true, false or null.
void scalar(const Json& value, const std::string& where);
// An object of anything JSON can say; for provenance nothing depends on.
void json_object(const Json& value, const std::string& where);

Check integer(std::int64_t low);
Check one_of(std::vector<std::string> names);
Check one_of(std::vector<std::int64_t> numbers);
Check nullable(Check inner);
Check list_of(Check inner);
Check list_of(Check inner, std::size_t length);
// An object with free names.
Check dict_of(Check inner, Check key = text);
// An object with exactly these names, and perhaps optional ones.
Check record(const std::vector<Field>& fields, const std::vector<Field>& optional = {});

}  // namespace hamsa::schema
