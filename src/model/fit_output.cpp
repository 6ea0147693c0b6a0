#include "pyscope/fit_output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pyscope {
namespace {

/// How long a text is once it is escaped, or more.
std::uint64_t escaped_size(std::string_view text) {
  constexpr std::uint64_t kControl = 7;   // "\\\\x1b", "\\\\u0080"
  constexpr std::uint64_t kNotAscii = 5;  // each byte, if they are no UTF-8
  constexpr std::uint64_t kQuoted = 4;
  std::uint64_t size = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      size += kControl;
    } else if (byte >= 0x80) {
      size += kNotAscii;
    } else {
      size += byte == '"' || byte == '\\' ? kQuoted : 1;
    }
  }
  return size;
}

/// Sizes of what frames refer to. Each text is looked at once for all of its frames.
class OutputSizes {
 public:
  OutputSizes(const Snapshot& snapshot, bool json) : json_(json) {
    for (const Code& code : snapshot.codes) {
      codes_.push_back(escaped_size(code.function) + escaped_size(code.file) +
                       (json ? escaped_size(code.qualified_name) : 0));
    }
    for (const SourceLine& line : snapshot.sources)
      sources_.push_back(escaped_size(line.text));
    for (const NativeLocation& location : snapshot.native_locations) {
      native_.push_back(escaped_size(location.function) + escaped_size(location.module) +
                        escaped_size(location.file));
    }
    for (const Locals& locals : snapshot.locals) {
      // Names of members and punctuation of one variable.
      const std::uint64_t each = json ? 160 : 20;
      std::uint64_t size = escaped_size(locals.error);
      for (const Local& local : locals.variables) {
        size += each + escaped_size(local.name) + escaped_size(local.type) +
                escaped_size(local.repr) + escaped_size(local.detail);
      }
      locals_.push_back(size);
    }
  }

  [[nodiscard]] std::uint64_t of(const Frame& frame) const {
    const auto part = [](const std::vector<std::uint64_t>& sizes,
                         const std::optional<std::uint32_t>& index) {
      return index && *index < sizes.size() ? sizes[*index] : 0;
    };
    return (json_ ? 320U : 60U) + escaped_size(frame.error) + part(codes_, frame.code) +
           part(sources_, frame.source) + part(locals_, frame.locals) + part(native_, frame.native);
  }

 private:
  bool json_;
  std::vector<std::uint64_t> codes_;
  std::vector<std::uint64_t> sources_;
  std::vector<std::uint64_t> native_;
  std::vector<std::uint64_t> locals_;
};

/// Keeps the innermost frames that fit; returns how many are left out.
std::size_t cut(std::vector<Frame>& frames, const OutputSizes& sizes, std::uint64_t& room) {
  std::size_t kept = 0;
  for (; kept < frames.size(); ++kept) {
    const std::uint64_t size = sizes.of(frames[kept]);
    if (size > room) break;
    room -= size;
  }
  const std::size_t left_out = frames.size() - kept;
  frames.resize(kept);
  return left_out;
}

}  // namespace

void fit_output(Snapshot& snapshot, OutputForm form, std::uint64_t most) {
  const OutputSizes sizes(snapshot, form == OutputForm::Json);
  struct Stack {
    std::vector<Frame>* frames;
    std::vector<Frame>* native_frames;  // null: none
    std::string* error;
    bool* truncated;  // null: none
    std::uint64_t size = 0;
  };
  std::vector<Stack> stacks;
  for (Thread& thread : snapshot.threads)
    stacks.push_back({&thread.frames, &thread.native_frames, &thread.error, &thread.truncated});
  for (SuspendedStack& stack : snapshot.stacks)
    stacks.push_back({&stack.frames, nullptr, &stack.error, nullptr});
  std::uint64_t all = 0;
  for (Stack& stack : stacks) {
    for (const auto* frames : {stack.frames, stack.native_frames}) {
      if (frames == nullptr) continue;
      for (const Frame& frame : *frames)
        stack.size += sizes.of(frame);
    }
    all += stack.size;
  }
  if (all <= most) return;
  // Small stacks are whole; the large ones share what is left.
  std::sort(stacks.begin(), stacks.end(),
            [](const Stack& a, const Stack& b) { return a.size < b.size; });
  std::uint64_t left = most;
  for (std::size_t n = 0; n < stacks.size(); ++n) {
    const Stack& stack = stacks[n];
    const std::uint64_t share = left / (stacks.size() - n);
    if (stack.size <= share) {
      left -= stack.size;
      continue;
    }
    left -= share;
    std::uint64_t room = share;
    std::size_t left_out = cut(*stack.frames, sizes, room);
    if (stack.native_frames != nullptr) left_out += cut(*stack.native_frames, sizes, room);
    if (!stack.error->empty()) *stack.error += "; ";
    *stack.error += fmt::format(
        "its {} outermost frames are left out, as the output would be too large with them{}",
        left_out, stack.truncated != nullptr ? "; --frames shows fewer of each thread" : "");
    if (stack.truncated != nullptr) *stack.truncated = true;
  }
  snapshot.capture.complete = false;
  snapshot.capture.consistent = false;
}

}  // namespace pyscope
