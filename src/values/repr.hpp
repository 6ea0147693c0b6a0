// Values as text: what Python's own repr() gives; or less than that, marked, where there is too
// much or where only code could tell.
#pragma once

#include <string>
#include <string_view>

#include "values/decoder.hpp"
#include "values/value.hpp"

namespace pyscope {

struct Repr {
  std::string text;        // UTF-8, surrogates as three bytes
  std::string type;        // the type's name: "int", "Order", "datetime.date"
  bool truncated = false;  // text leaves something out: by a limit, or since it can't be read
  std::string
      detail;  // what repr() doesn't tell: "suspended at line 12"; empty if there is nothing
  bool complete = true;  // nothing of it was unreadable
};

/// The value as repr() has it. Its text is taken off the budget.
[[nodiscard]] Repr render_repr(const Value& value, UnicodeVersion unicode, ReprBudget& budget);

/// Decodes objects and renders them at once.
class ReprWriter {
 public:
  ReprWriter(ObjectReader& objects, const ValueLimits& limits, ReprBudget& budget)
      : decoder_(objects, limits, budget), budget_(budget) {}

  /// The object, as the value of a variable of this name.
  [[nodiscard]] Repr write(RemoteAddr object, std::string_view name) {
    return render_repr(decoder_.decode(object, name), decoder_.reader().layout().unicode, budget_);
  }

 private:
  ValueDecoder decoder_;
  ReprBudget& budget_;
};

}  // namespace pyscope
