#pragma once

#include <optional>

#include "pyscope/plain_value.hpp"
#include "pyscope/value_limits.hpp"
#include "values/value.hpp"

namespace pyscope {

/// The value in a form that JSON has. Nothing if JSON has none, or if something is left out or
/// masked. An instance of a subclass says more than JSON can. `limits` tell what is a secret.
[[nodiscard]] std::optional<PlainValue> plain_value(const Value& value, const ValueLimits& limits);

/// False if no part of the value that is left out could make the value a plain one.
[[nodiscard]] bool may_be_plain(const Value& value, const ValueLimits& limits);

}  // namespace pyscope
