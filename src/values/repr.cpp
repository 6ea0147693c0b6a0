#include "values/repr.hpp"

#include <fmt/format.h>

#include "values/quoting.hpp"

namespace pyscope {
namespace {

using Kind = ValueNode::Kind;

class Renderer {
 public:
  Renderer(UnicodeVersion unicode, ReprBudget& budget) : unicode_(unicode), budget_(budget) {}

  void render(const ValueNode& node) {
    if (full_) return;
    if (node.kind == Kind::String) {
      put_cut(quoted(node.text, unicode_), node.whole_length, "characters");
    } else if (node.kind == Kind::Bytes) {
      put_cut(quoted_bytes(node.text, node.escapes_quotes), node.whole_length, "bytes");
    } else {
      put(node.text);
      if (node.parts) render_parts(*node.parts);
    }
  }

  std::string take() { return std::move(out_); }
  [[nodiscard]] bool full() const { return full_; }

 private:
  void render_parts(const ValueParts& parts) {
    const std::string_view separator = parts.spaced ? " " : ", ";
    for (std::size_t i = 0; i < parts.values.size() && !full_; ++i) {
      if (i > 0) put(separator);
      if (i < parts.keys.size()) {
        render(parts.keys[i]);
        put(": ");
      } else if (i < parts.names.size() && !parts.names[i].empty()) {
        put(parts.names[i]);
        put("=");
      }
      render(parts.values[i]);
    }
    if (parts.left_out > 0) {
      if (!parts.values.empty()) put(separator);
      put(left_out_text(parts));
    }
    put(parts.closing);
  }

  static std::string left_out_text(const ValueParts& parts) {
    if (parts.left_out == ValueParts::kSomeLeftOut) return "…";
    return fmt::format("… {} {}", with_separators(parts.left_out),
                       !parts.too_deep       ? "more"
                       : parts.left_out == 1 ? "item"
                                             : "items");
  }

  /// A string of which only the beginning is here, unless `whole_length` is 0.
  void put_cut(std::string text, std::uint64_t whole_length, std::string_view unit) {
    if (whole_length > 0) {
      const char quote = text.back();
      text.pop_back();
      text += fmt::format("…{} ({} {})", quote, with_separators(whole_length), unit);
    }
    put(text);
  }

  /// Nothing is added beyond the budget: the text ends there.
  void put(std::string_view text) {
    if (full_) return;
    if (text.size() > budget_.text) {
      budget_.text = 0;
      full_ = true;
      text = "…";
    } else {
      budget_.text -= text.size();
    }
    out_ += text;
  }

  UnicodeVersion unicode_;
  ReprBudget& budget_;
  std::string out_;
  bool full_ = false;
};

}  // namespace

Repr render_repr(const Value& value, UnicodeVersion unicode, ReprBudget& budget) {
  Renderer renderer(unicode, budget);
  renderer.render(value.root);
  Repr repr;
  repr.text = renderer.take();
  repr.type = value.root.type != nullptr ? value.root.type->label() : "";
  repr.truncated = value.truncated || renderer.full();
  repr.detail = value.detail;
  repr.complete = value.complete;
  return repr;
}

}  // namespace pyscope
