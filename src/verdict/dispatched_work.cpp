#include "verdict/dispatched_work.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/file_name.hpp"
#include "model/standard_waits.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMostNames = 256;

const Code* called_code(const Snapshot& snapshot, const Frame& frame) {
  const bool known = frame.code && *frame.code < snapshot.codes.size();
  return known ? &snapshot.codes[*frame.code] : nullptr;
}

/// The function that the innermost dispatcher calls; null if it calls none, or there is none.
const Code* first_called(const Snapshot& snapshot, const Thread& thread) {
  const Code* called = nullptr;
  for (const Frame& frame : thread.frames) {
    const Code* code = called_code(snapshot, frame);
    if (code == nullptr) continue;
    if (is_dispatcher(*code)) return called;
    called = code;
  }
  return nullptr;
}

void count_name(std::map<std::string, std::size_t>& names, std::string name) {
  if (names.size() < kMostNames || names.contains(name)) ++names[std::move(name)];
}

std::vector<std::pair<std::size_t, std::string>> most_frequent_first(
    const std::map<std::string, std::size_t>& names) {
  std::vector<std::pair<std::size_t, std::string>> sorted;
  for (const auto& [name, count] : names)
    sorted.emplace_back(count, name);
  std::sort(sorted.rbegin(), sorted.rend());
  return sorted;
}

}  // namespace

void DispatchedWork::add_running(const Snapshot& snapshot, const Thread& thread,
                                 const Activity& activity) {
  if (!thread.consistent) return;
  ++samples_;
  if (const Code* code = first_called(snapshot, thread)) {
    count_name(called_, fmt::format("{} ({})", code->qualified_name, file_name(code->file)));
  }
  const Code* place = activity.frame == nullptr ? nullptr : called_code(snapshot, *activity.frame);
  if (place == nullptr || is_dispatcher(*place)) return;
  count_name(places_, fmt::format("{} ({}:{})", place->qualified_name, file_name(place->file),
                                  activity.frame->position.line.value_or(0)));
}

void DispatchedWork::add_callback(const std::string& callback, Clock::time_point at,
                                  Clock::time_point read_at) {
  blocks_now_ = false;
  if (callback.empty() || callback != callback_) {
    callback_ = callback;
    callback_since_ = read_at;
    return;
  }
  const std::chrono::duration<double> time = at - callback_since_;
  if (time < longest_) return;
  longest_ = time;
  blocks_now_ = true;
}

void DispatchedWork::judge(const std::string& dispatcher, ThreadDiagnosis& result) const {
  constexpr double kHot = 0.8;
  constexpr std::size_t kMost = 4;
  const auto share = [&](std::size_t count) {
    return static_cast<double>(count) / static_cast<double>(std::max<std::size_t>(samples_, 1));
  };
  const auto places = most_frequent_first(places_);
  const auto called = most_frequent_first(called_);
  result.verdict = Verdict::Progressing;
  if (!places.empty() && share(places.front().first) >= kHot) {
    result.summary = "running in " + places.front().second;
  } else if (!called.empty()) {
    result.summary =
        fmt::format("running what {} calls: most often {}, {:.0f} % of the time", dispatcher,
                    called.front().second, share(called.front().first) * 100);
  } else {
    result.summary = "running in " + dispatcher;
  }
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < std::min(kMost, called.size()); ++i) {
    texts.push_back(fmt::format("{} {:.0f} %", called[i].second, share(called[i].first) * 100));
  }
  if (called.size() > kMost) texts.push_back(fmt::format("{} more", called.size() - kMost));
  if (!texts.empty()) {
    result.evidence.push_back(fmt::format("{} calls: {}", dispatcher, fmt::join(texts, ", ")));
  }
  texts.clear();
  for (std::size_t i = 0; i < std::min(kMost, places.size()); ++i)
    texts.push_back(fmt::format("{} {:.0f} %", places[i].second, share(places[i].first) * 100));
  if (!texts.empty()) result.evidence.push_back(fmt::format("in {}", fmt::join(texts, ", ")));
}

void DispatchedWork::tell_blocking(ThreadDiagnosis& result) const {
  constexpr std::chrono::milliseconds kLong{200};
  if (longest_ < kLong) return;
  // Rounded down: no longer than was seen.
  const std::string time = fmt::format("{:.1f} s", std::floor(longest_.count() * 10) / 10);
  if (blocks_now_) {
    result.summary = fmt::format("blocks the event loop for at least {}: {}", time, result.summary);
  } else {
    result.evidence.push_back(
        fmt::format("a single callback blocked the event loop for at least {}", time));
  }
}

}  // namespace pyscope
