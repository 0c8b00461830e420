// The interpreter of schemas. Every value that manifest.schema.json forbids is tried in tests/cpp/test_manifest.py.
#include "schema.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "arrays.hpp"
#include "errors.hpp"
#include "manifest.hpp"
#include "manifest_schema.hpp"

using hamsa::schema::Schema;

TEST_CASE("what is not applied is a mistake in the schema, and never left out") {
    for (const std::string text : {
             R"({"uniqueItems": true})",
             R"({"properties": {"a": {"items": {"maxLength": 3}}}})",
             R"({"$defs": {"a": {"oneOf": []}}})",
             R"({"additionalProperties": {"const": 1}})",
             R"({"anyOf": [{"minLength": 1}, {"type": "null"}]})",
             R"({"type": "strings"})",
             R"({"enum": [null]})",
             R"({"$ref": "#/$defs/b", "$defs": {"a": {}}})",
             R"({"$ref": "other.json", "$defs": {"a": {}}})",
             R"({"type": "string", "pattern": "^a$"})",
             R"({"pattern": "a", "x-expected": "a"})",
             R"({"type": ["string", "null"]})",
             R"({"anyOf": [{"type": "string"}, {"type": "integer"}]})",
             R"({"not": {"enum": ["a"]}, "x-expected": "b"})",
         }) {
        CAPTURE(text);
        CHECK_THROWS_AS(Schema{text}, std::logic_error);
    }
}

TEST_CASE("this library knows what the schema lists") {
    const nlohmann::json schema = nlohmann::json::parse(hamsa::manifest_schema);
    for (const std::string name : schema["$defs"]["dtype"]["enum"]) {
        CHECK(std::string(hamsa::name_of(hamsa::dtype_named(name))) == name);
    }
    CHECK(schema["properties"]["schema"]["enum"] == nlohmann::json{hamsa::schema_version});
}
