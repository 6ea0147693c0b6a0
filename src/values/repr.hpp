// Values as text, as Python's own repr() gives it. Where there is too much, or where only code of
// the target could tell, the text says less and is marked.
#pragma once

#include <string>
#include <string_view>

#include "values/decoder.hpp"
#include "values/value.hpp"

namespace pyscope {

struct Repr {
  std::string text;        // UTF-8, surrogates as three bytes
  std::string type;        // the type's name: "int", "Order", "datetime.date"
  bool truncated = false;  // a limit or unreadable memory left something out of the text
  std::string detail;      // a fact that repr() doesn't tell: "suspended at line 12"; may be empty
  bool complete = true;    // all of it could be read
};

/// The value as repr() has it. Its text is taken off the budget.
[[nodiscard]] Repr render_repr(const Value& value, UnicodeVersion unicode, ReprBudget& budget);

/// Decodes objects and renders them at once.
class ReprWriter {
 public:
  ReprWriter(ObjectReader& objects, const ValueLimits& limits, ReprBudget& budget)
      : decoder_(objects, limits, budget), budget_(budget) {}

  [[nodiscard]] ValueDecoder& decoder() { return decoder_; }
  /// The object, as the value of a variable of this name.
  [[nodiscard]] Repr write(RemoteAddr object, std::string_view name) {
    return render_repr(decoder_.decode(object, name), decoder_.reader().layout().unicode, budget_);
  }

 private:
  ValueDecoder decoder_;
  ReprBudget& budget_;
};

}  // namespace pyscope
