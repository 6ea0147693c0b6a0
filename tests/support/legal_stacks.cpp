#include "support/legal_stacks.hpp"

#include <fmt/core.h>

namespace pyscope::test {

LegalStacks::LegalStacks(const nlohmann::json& callers) {
  for (const auto& [callee, calls] : callers.items()) {
    Callers& known = callers_[callee];
    known.any = calls.is_null();
    for (const auto& call : calls)
      known.calls.emplace(call.at(0).get<std::string>(), call.at(1).get<std::int32_t>());
  }
}

std::string LegalStacks::find_fault(const Snapshot& snapshot, const Thread& thread) const {
  const Frame* callee = nullptr;
  const auto code_of = [&](const Frame& frame) -> const Code& {
    return snapshot.codes.at(*frame.code);
  };
  for (const Frame& frame : thread.frames) {
    if (frame.kind == FrameKind::Shim) continue;
    if (!frame.error.empty()) return "a frame in error: " + frame.error;
    const Code& code = code_of(frame);
    // Functions of the kind `code` are compiled under the name of the one that calls them.
    if (code.qualified_name.starts_with("code_") && code.qualified_name.ends_with("_inner") &&
        !code.qualified_name.starts_with(code.file)) {
      return fmt::format("{} from {}", code.qualified_name, code.file);
    }
    if (callee != nullptr) {
      const auto rule = callers_.find(code_of(*callee).qualified_name);
      if (rule != callers_.end() && !rule->second.any &&
          !rule->second.calls.contains({code.qualified_name, frame.position.line.value_or(0)})) {
        return fmt::format("{} was called from {}, line {}", rule->first, code.qualified_name,
                           frame.position.line.value_or(0));
      }
    }
    callee = &frame;
  }
  if (callee == nullptr || thread.truncated) return {};
  const std::string& outermost = code_of(*callee).qualified_name;
  const std::string expected = thread.main ? "<module>" : "Thread._bootstrap";
  return outermost == expected ? std::string{}
                               : fmt::format("the outermost frame is {}", outermost);
}

}  // namespace pyscope::test
