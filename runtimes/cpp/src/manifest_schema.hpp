#pragma once

namespace hamsa {

// manifest.schema.json of the Python runtime, compiled in: the description that both read manifests with.
extern const char* const manifest_schema;

}  // namespace hamsa
