#pragma once

#include "schema.hpp"

namespace hamsa {

// The check of a whole manifest: every key of every record, listed once.
schema::Check manifest_check();

}  // namespace hamsa
