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
  std::vector<CalledFrame> stack;
  for (const Frame& frame : thread.frames) {
    if (frame.kind == FrameKind::Shim || frame.kind == FrameKind::Native) continue;
    if (!frame.error.empty()) return "a frame in error: " + frame.error;
    const Code& code = snapshot.codes.at(*frame.code);
    stack.push_back({code.qualified_name, code.file, frame.position.line.value_or(0)});
  }
  std::string fault = find_fault(stack);
  if (!fault.empty() || stack.empty() || thread.truncated) return fault;
  if (stack.back().function != outermost(thread.main))
    fault = fmt::format("the outermost frame is {}", stack.back().function);
  return fault;
}

std::string LegalStacks::find_fault(const std::vector<CalledFrame>& stack) const {
  const CalledFrame* callee = nullptr;
  for (const CalledFrame& frame : stack) {
    // Functions of the kind `code` are compiled under the name of the one that calls them.
    if (frame.function.starts_with("code_") && frame.function.ends_with("_inner") &&
        !frame.function.starts_with(frame.file)) {
      return fmt::format("{} from {}", frame.function, frame.file);
    }
    if (callee != nullptr) {
      const auto rule = callers_.find(std::string(callee->function));
      if (rule != callers_.end() && !rule->second.any &&
          !rule->second.calls.contains({std::string(frame.function), frame.line})) {
        return fmt::format("{} was called from {}, line {}", callee->function, frame.function,
                           frame.line);
      }
    }
    callee = &frame;
  }
  return {};
}

std::string_view LegalStacks::outermost(bool main_thread) {
  return main_thread ? "<module>" : "Thread._bootstrap";
}

}  // namespace pyscope::test
