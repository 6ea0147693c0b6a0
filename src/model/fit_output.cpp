#include "pyscope/fit_output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
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
  std::vector<std::uint64_t> of_thread;
  for (const Thread& thread : snapshot.threads) {
    std::uint64_t size = 0;
    for (const auto* frames : {&thread.frames, &thread.native_frames}) {
      for (const Frame& frame : *frames)
        size += sizes.of(frame);
    }
    of_thread.push_back(size);
  }
  if (std::accumulate(of_thread.begin(), of_thread.end(), std::uint64_t{0}) <= most) return;
  // Small stacks are whole; the large ones share what is left.
  std::vector<std::size_t> order(of_thread.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return of_thread[a] < of_thread[b]; });
  std::uint64_t left = most;
  for (std::size_t n = 0; n < order.size(); ++n) {
    const std::uint64_t share = left / (order.size() - n);
    const std::uint64_t size = of_thread[order[n]];
    if (size <= share) {
      left -= size;
      continue;
    }
    left -= share;
    std::uint64_t room = share;
    Thread& thread = snapshot.threads[order[n]];
    const std::size_t left_out =
        cut(thread.frames, sizes, room) + cut(thread.native_frames, sizes, room);
    if (!thread.error.empty()) thread.error += "; ";
    thread.error += fmt::format(
        "its {} outermost frames are left out, as the output would be too large with them; --frames"
        " shows fewer of each thread",
        left_out);
    thread.truncated = true;
  }
  snapshot.capture.complete = false;
  snapshot.capture.consistent = false;
}

}  // namespace pyscope
