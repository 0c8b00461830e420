// Checks parsed JSON against a JSON Schema: the subset of draft 2020-12 that manifest.schema.json is written in.
//
// The Python runtime's schema.py says which keywords are applied and what beyond JSON Schema is refused; both say the
// same in the same words. Nothing is coerced: "1" is not 1, and neither is 1.0 where a whole number is asked for.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "hamsa/error.hpp"

namespace hamsa::schema {

using Json = nlohmann::json;

class Schema {
  public:
    // std::logic_error for a schema with what is not applied here: a mistake in the schema, never in a value.
    explicit Schema(const std::string& text);
    ~Schema();

    // InputError says what was found where and what was expected.
    void check(const Json& value) const;

  private:
    struct Parts;
    std::unique_ptr<const Parts> parts_;
};

// The error for a value that is not what it should be; it is shown as Python would, cut to 80 characters.
InputError rejected(const Json& value, const std::string& where, const std::string& expected,
                    const std::string& fix = "");
InputError rejected_text(const std::string& shown, const std::string& where, const std::string& expected,
                         const std::string& fix = "", const std::string& cause = "");

}  // namespace hamsa::schema
