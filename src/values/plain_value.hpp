#pragma once

#include <optional>

#include "pyscope/plain_value.hpp"
#include "pyscope/value_limits.hpp"
#include "python/objects.hpp"

namespace pyscope {

/// The object as a plain value; nothing if it is none, or if the limits would cut it or secrets
/// would be shown. Only the builtin types themselves: a subclass says more than JSON can.
[[nodiscard]] std::optional<PlainValue> read_plain_value(ObjectReader& objects, RemoteAddr object,
                                                         const ValueLimits& limits);

}  // namespace pyscope
