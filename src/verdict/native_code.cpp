#include "verdict/native_code.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_name.hpp"
#include "verdict/activity.hpp"
#include "verdict/diagnosis_builder.hpp"

namespace pyscope {
namespace {

constexpr std::string_view kInNativeCode = "in native code";

bool waits_in_native_code(const ThreadDiagnosis& judged) {
  return judged.summary.starts_with(kWaitingInNativeCode);
}

/// What the innermost Python frame has called, innermost first.
std::vector<const NativeLocation*> callees(const Snapshot& snapshot, const Thread& thread) {
  std::vector<const NativeLocation*> locations;
  const auto& frames = thread.native_frames.empty() ? thread.frames : thread.native_frames;
  for (const Frame& frame : frames) {
    if (frame.kind == FrameKind::Python) break;
    if (const NativeLocation* location = native_location(snapshot, frame))
      locations.push_back(location);
  }
  return locations;
}

std::string words_of(const NativeLocation& location) {
  const std::string_view module = file_name(location.module);
  if (location.function.empty()) {
    return module.empty() ? std::string("code that is in no file") : std::string(module);
  }
  return module.empty() ? location.function : fmt::format("{} ({})", location.function, module);
}

/// The innermost function that has a name; else the innermost library.
const NativeLocation* most_telling(const std::vector<const NativeLocation*>& locations) {
  const auto named = std::find_if(locations.begin(), locations.end(),
                                  [](const auto* location) { return !location->function.empty(); });
  if (named != locations.end()) return *named;
  return locations.empty() ? nullptr : locations.front();
}

/// "dgemm_kernel (libopenblas.so), called by cblas_dgemm, called by DOUBLE_matmul (umath.so)".
std::string stack_of(const std::vector<const NativeLocation*>& locations) {
  constexpr std::size_t kMostFunctions = 8;
  std::string text;
  std::string_view module;
  std::size_t shown = 0;
  for (const NativeLocation* location : locations) {
    if (location->function.empty() && location->module == module) continue;  // says nothing new
    if (shown++ == kMostFunctions) {
      text += ", …";
      break;
    }
    if (!text.empty()) text += ", called by ";
    text += location->module == module ? location->function : words_of(*location);
    module = location->module;
  }
  return text;
}

}  // namespace

bool wants_native_code(const ThreadDiagnosis& judged, const Snapshot& last) {
  if (!judged.verdict) return false;
  switch (*judged.verdict) {
    case Verdict::InNativeCode:
    case Verdict::WaitingForIo:
      return true;
    case Verdict::WaitingForLock: {
      // A lock that Python knows is known by its name.
      const Thread* thread = find_thread(last, judged);
      return thread != nullptr && !thread->lock;
    }
    case Verdict::Waiting:
    case Verdict::Idle:
      return waits_in_native_code(judged);
    case Verdict::Deadlocked:
    case Verdict::Looping:
    case Verdict::WaitingForGil:
    case Verdict::Progressing:
    case Verdict::Sleeping:
      return false;
  }
  return false;
}

void add_native_code(Diagnosis& diagnosis, const std::vector<Snapshot>& looks) {
  for (const Snapshot& look : looks) {
    if (look.capture.paused_threads == 0) continue;
    ++diagnosis.native_looks;
    diagnosis.paused_us = std::max(diagnosis.paused_us, look.capture.paused_us);
  }
  for (ThreadDiagnosis& judged : diagnosis.threads) {
    if (!wants_native_code(judged, diagnosis.last)) continue;
    struct Seen {
      std::size_t times = 0;
      std::string words;
      std::string stack;
    };
    std::map<std::string, Seen> places;
    std::size_t looked = 0;
    std::string library;
    std::string failure;
    for (const Snapshot& look : looks) {
      const Thread* thread = find_thread(look, judged);
      if (thread == nullptr) continue;
      if (!thread->native_error.empty()) failure = thread->native_error;
      const auto locations = callees(look, *thread);
      if (library.empty()) library = waiting_library(look, *thread);
      const NativeLocation* telling = most_telling(locations);
      if (telling == nullptr) continue;
      ++looked;
      Seen& seen = places[words_of(*telling)];
      if (seen.times++ == 0) {
        seen.words = words_of(*telling);
        seen.stack = stack_of(locations);
      }
    }
    if (places.empty()) {
      judged.evidence.push_back(failure.empty() ? std::string("no native function was found below "
                                                              "its Python line")
                                                : failure);
      continue;
    }
    const auto most = std::max_element(
        places.begin(), places.end(),
        [](const auto& a, const auto& b) { return a.second.times < b.second.times; });
    const Seen& seen = most->second;
    if (waits_in_native_code(judged) && !library.empty())
      judged.summary.insert(kWaitingInNativeCode.size(), library);
    if (judged.verdict == Verdict::InNativeCode && judged.summary.starts_with(kInNativeCode)) {
      judged.summary.replace(0, kInNativeCode.size(), "in " + seen.words);
    }
    judged.evidence.push_back(
        seen.times == looked
            ? fmt::format("in {}, in {} of {} looks", seen.stack, seen.times, looked)
            : fmt::format("most often in {}, in {} of {} looks", seen.stack, seen.times, looked));
  }
}

}  // namespace pyscope
