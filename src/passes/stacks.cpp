#include "passes/stacks.hpp"

#include <fmt/core.h>
#include <tsl/robin_set.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>
#include <unordered_set>

#include "frames/frames.hpp"
#include "memory/page_cache.hpp"
#include "native/stack_copier.hpp"

namespace pyscope {

void PausedThreads::hold(std::span<const pid_t> tids, bool registers, const Log& log) {
  if (tids.empty()) return;
  if (!threads_.hold) {
    failure_ = "there is no process to hold";
    return;
  }
  // About 20 us a thread; several times that on a busy machine.
  HoldLimits limits;
  limits.registers = registers;
  limits.until_stopped += std::chrono::microseconds(100) * tids.size();
  limits.until_released += std::chrono::microseconds(500) * tids.size();
  auto hold = threads_.hold(tids, limits);
  if (!hold) {
    failure_ = hold.error().message;
    log("{}", failure_);
    return;
  }
  for (const pid_t tid : tids) {
    if (hold->holds(tid)) {
      ++held_;
    } else {
      log("thread {} can't be held: {}", tid, hold->refusal(tid));
    }
  }
  holds_.push_back(*std::move(hold));
}

bool PausedThreads::holds(pid_t tid) const {
  return std::any_of(holds_.begin(), holds_.end(),
                     [&](const ThreadHold& hold) { return hold.holds(tid); });
}

const Registers* PausedThreads::registers(pid_t tid) const {
  for (const ThreadHold& hold : holds_) {
    if (const Registers* registers = hold.registers(tid)) return registers;
  }
  return nullptr;
}

std::string PausedThreads::refusal(pid_t tid) const {
  for (auto hold = holds_.rbegin(); hold != holds_.rend(); ++hold) {
    if (auto why = hold->refusal(tid); !why.empty()) return why;
  }
  return failure_;
}

bool PausedThreads::is_late(pid_t tid) const {
  return !holds(tid) && std::any_of(holds_.begin(), holds_.end(),
                                    [&](const ThreadHold& hold) { return hold.is_late(tid); });
}

bool PausedThreads::release() {
  bool in_time = true;
  // The first one has stood longest, and goes last.
  for (std::size_t i = holds_.size(); i-- > released_;) {
    const auto release = holds_[i].release();
    in_time = in_time && release.in_time;
    microseconds_ = std::max<std::int64_t>(microseconds_, release.held.count());
  }
  released_ = holds_.size();
  return in_time;
}

namespace {

class StackReader {
 public:
  StackReader(const Memory& memory, const Runtime& runtime,
              const std::vector<StackRequest>& requests, CodeTable& codes,
              const ThreadSource& threads, const CaptureOptions& options, PausedThreads& paused,
              const Log& log, NativeStates* native)
      : memory_(memory),
        offsets_(runtime.offsets),
        requests_(requests),
        codes_(codes),
        threads_(threads),
        options_(options),
        paused_(paused),
        log_(log),
        native_(native),
        readings_(requests.size()) {
    for (const StackRequest& request : requests_) {
      StackStart start = request.thread.stack;
      start.max_frames = max_frames();
      starts_.push_back(start);
    }
  }

  std::vector<StackReading> read(const RawRuntime& raw, const Gils& gils_before) {
    const auto at_rest = mark_blocked_holders(gils_before);
    {
      const PageCache stacks(memory_);
      auto walks = walk_frames(stacks, offsets_, starts_);
      for (std::size_t i = 0; i < walks.size(); ++i)
        readings_[i].walk = std::move(walks[i]);
    }
    // Before the second look at the GILs, so that it is proven with the stacks.
    load_code();
    const Gils gils_after = read_gils(memory_, offsets_.layout(), raw);
    std::vector<std::size_t> unproven;
    std::vector<std::size_t> held;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (!readings_[i].walk.error.empty()) {
        unproven.push_back(i);
      } else if (paused_.holds(requests_[i].tid)) {
        held.push_back(i);
      } else if (stood_still(requests_[i], gils_before, gils_after)) {
        readings_[i].proof = Proof::Gil;
        readings_[i].code_proven = true;
      } else if (const auto mark = at_rest.find(i);
                 mark != at_rest.end() &&
                 threads_.switches_at_rest(requests_[i].tid) == mark->second) {
        readings_[i].proof = Proof::AtRest;
        readings_[i].code_proven = true;
      } else {
        unproven.push_back(i);
      }
    }
    if (options_.pause == Pause::All) {
      if (native_ != nullptr) take_native_states(all_requests(), native_->others);
      settle_held(held);
    } else if (native_ != nullptr) {
      read_with_native_states();
      std::erase_if(unproven, [&](std::size_t i) { return readings_[i].proof != Proof::None; });
    }
    prove_running(unproven);
    load_code();
    doubt_replaced_code();
    if (options_.pause == Pause::Unverified && native_ == nullptr) read_held(unproven, {});
    if (options_.pause != Pause::Never || native_ != nullptr) tell_refusals(unproven);
    return std::move(readings_);
  }

 private:
  [[nodiscard]] std::size_t max_frames() const {
    // Where a frame is among the native ones, the end of its chain says.
    if (native_ != nullptr) return std::numeric_limits<std::size_t>::max();
    // Frames that haven't begun to run are read and then left out, and need room beyond the limit.
    constexpr std::size_t kIncomplete = 2;
    constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
    const std::size_t wanted = options_.max_frames.value_or(kAll);
    return wanted > kAll - kIncomplete ? kAll : wanted + kIncomplete;
  }

  /// The GIL doesn't say of whoever had it last whether it ran. If that one is blocked, as in an
  /// idle process, the kernel does, and the stack need not be copied twice.
  [[nodiscard]] std::unordered_map<std::size_t, std::uint64_t> mark_blocked_holders(
      const Gils& gils) {
    std::unordered_map<std::size_t, std::uint64_t> marks;
    if (!threads_.switches_at_rest) return marks;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      const auto gil = gils.find(requests_[i].gil.raw());
      if (gil == gils.end() || gil->second.last_holder != requests_[i].thread.at ||
          !requests_[i].blocked || requests_[i].tid == 0) {
        continue;
      }
      const auto mark = threads_.switches_at_rest(requests_[i].tid);
      if (!mark) continue;
      // Its thread state was read before that.
      const RemoteAddr state = requests_[i].thread.at;
      const auto frame =
          read_as<std::uint64_t>(memory_, state, offsets_[Field::ThreadCurrentFrame]);
      if (!frame) continue;
      starts_[i].current_frame = RemoteAddr{*frame};
      marks.emplace(i, *mark);
    }
    return marks;
  }

  /// Whether the thread is known not to have run Python code since before its thread state was
  /// read.
  static bool stood_still(const StackRequest& request, const Gils& gils_before,
                          const Gils& gils_after) {
    const auto before = gils_before.find(request.gil.raw());
    const auto after = gils_after.find(request.gil.raw());
    return before != gils_before.end() && after != gils_after.end() &&
           before->second == after->second && before->second.last_holder != request.thread.at;
  }

  /// Reads the code that the stacks run as far as it isn't known.
  void load_code() {
    std::vector<RemoteAddr> codes;
    tsl::robin_set<std::uint64_t> seen;
    for (const StackReading& reading : readings_) {
      for (const RawFrame& frame : reading.walk.frames) {
        if (!frame.is_entry() && seen.insert(frame.executable.raw()).second) {
          codes.push_back(frame.executable);
        }
      }
    }
    codes_.load(std::move(codes));
  }

  /// Code that was loaded before or after its stack was proven must have been the same then.
  void doubt_replaced_code() {
    std::vector<RemoteAddr> codes;
    std::unordered_set<std::uint64_t> doubtful;
    tsl::robin_set<std::uint64_t> seen;
    const auto for_each_code = [&](const auto& visit) {
      for (StackReading& reading : readings_) {
        if (reading.proof == Proof::None || reading.code_proven) continue;
        for (const RawFrame& frame : reading.walk.frames) {
          if (!frame.is_entry()) visit(reading, frame.executable);
        }
      }
    };
    for_each_code([&](StackReading&, RemoteAddr code) {
      if (!seen.insert(code.raw()).second) return;
      if (!codes_.knows(code)) {
        doubtful.insert(code.raw());
        return;
      }
      codes.push_back(code);
      const auto then = codes_then_.find(code.raw());
      if (then != codes_then_.end() && then->second != codes_.identity(code)) {
        doubtful.insert(code.raw());
      }
    });
    if (codes.empty()) return;
    doubtful.merge(codes_.replaced(codes));
    if (doubtful.empty()) return;
    for_each_code([&](StackReading& reading, RemoteAddr code) {
      if (doubtful.contains(code.raw())) doubt_code(reading);
    });
  }

  static void doubt_code(StackReading& reading) {
    reading.proof = Proof::None;
    reading.moving = reading.walk.frames.size();
    reading.doubt = "code that it ran was gone before its name was read";
  }

  /// Reads what these stacks, whose threads stand, run in place of what was known to lie there. It
  /// costs the stacks that ran the latter their proof: there is room for one code at an address.
  void reload_code(const std::vector<std::size_t>& indices) {
    std::vector<RemoteAddr> codes;
    for (const std::size_t i : indices) {
      for (const RawFrame& frame : readings_[i].walk.frames) {
        if (!frame.is_entry() && codes_.knows(frame.executable)) codes.push_back(frame.executable);
      }
    }
    const auto replaced = codes_.replaced(codes);
    if (replaced.empty()) return;
    codes_.reload(replaced);
    const std::unordered_set<std::size_t> standing(indices.begin(), indices.end());
    for (std::size_t i = 0; i < readings_.size(); ++i) {
      StackReading& reading = readings_[i];
      if (standing.contains(i) || reading.proof == Proof::None) continue;
      if (std::any_of(reading.walk.frames.begin(), reading.walk.frames.end(),
                      [&](const RawFrame& frame) {
                        return !frame.is_entry() && replaced.contains(frame.executable.raw());
                      })) {
        doubt_code(reading);
      }
    }
  }

  void prove_running(const std::vector<std::size_t>& indices) {
    // A thread that never holds still for a few microseconds costs some milliseconds; all of them
    // together no more than this.
    constexpr auto kTimeForOne = std::chrono::milliseconds(20);
    constexpr auto kTimeForAll = std::chrono::seconds(1);
    const auto deadline_for_all = std::chrono::steady_clock::now() + kTimeForAll;
    for (const std::size_t i : indices) {
      const StackRequest& request = requests_[i];
      StackReading& reading = readings_[i];
      VerifyBudget budget;
      budget.deadline = std::min(std::chrono::steady_clock::now() + kTimeForOne, deadline_for_all);
      auto result = walk_verified(memory_, offsets_, codes_, request.thread.at, starts_[i],
                                  std::move(reading.walk), budget);
      reading.walk = std::move(result.walk);
      codes_then_.merge(result.codes);
      if (result.verified) reading.proof = Proof::TwoCopies;
      reading.moving = result.moving;
      reading.attempts = result.attempts;
      if (!result.verified) read_at_rest(i);
      log_("thread {}: {} after {} tries", request.tid,
           reading.proof == Proof::TwoCopies ? "verified by two equal copies"
           : reading.proof == Proof::AtRest  ? "verified at rest"
                                             : "not verified",
           reading.attempts);
      if (reading.proof != Proof::None) continue;
      reading.doubt =
          result.too_slow
              ? fmt::format("none of {} reads was quick enough to tell that the stack stood still",
                            result.attempts)
              : fmt::format("the stack changed during each of {} tries to read it",
                            result.attempts);
    }
  }

  void read_at_rest(std::size_t index) {
    const StackRequest& request = requests_[index];
    if (!threads_.switches_at_rest || request.tid == 0) return;
    const auto before = threads_.switches_at_rest(request.tid);
    if (!before) return;
    FrameWalk walk = read_again({index}).front();
    if (!walk.error.empty() || threads_.switches_at_rest(request.tid) != before) return;
    readings_[index].walk = std::move(walk);
    readings_[index].proof = Proof::AtRest;
    readings_[index].moving = 0;
  }

  /// The stacks of threads that stand still, from their present beginnings.
  std::vector<FrameWalk> read_again(const std::vector<std::size_t>& indices) {
    const PageCache cache(memory_);
    const Reader reader(cache, offsets_);
    std::vector<RemoteAddr> states;
    for (const std::size_t i : indices)
      states.push_back(requests_[i].thread.at);
    reader.prefetch(states, offsets_[Field::ThreadSize]);
    std::vector<StackStart> starts;
    std::vector<std::string> failures;
    for (const std::size_t i : indices) {
      const RawThread& thread = requests_[i].thread;
      StackStart start = starts_[i];
      const auto frame = reader.field<std::uint64_t>(thread.at, Field::ThreadCurrentFrame);
      const auto chunk = reader.field<std::uint64_t>(thread.at, Field::ThreadDatastackChunk);
      const auto native_id = reader.field<std::uint64_t>(thread.at, Field::ThreadNativeThreadId);
      const bool same = frame && chunk && native_id && *native_id == thread.native_id;
      start.current_frame = same ? RemoteAddr{*frame} : RemoteAddr{};
      start.chunk = same ? RemoteAddr{*chunk} : RemoteAddr{};
      starts.push_back(start);
      failures.emplace_back(same ? "" : "its thread state is gone");
    }
    auto walks = walk_frames(cache, offsets_, starts);
    for (std::size_t i = 0; i < walks.size(); ++i) {
      if (failures[i].empty()) continue;
      walks[i] = FrameWalk{};
      walks[i].error = failures[i];
    }
    return walks;
  }

  /// Believes the stacks of the threads that stood while they were read.
  void settle_held(const std::vector<std::size_t>& indices) {
    const bool in_time = paused_.release();
    if (!in_time && native_ != nullptr) {
      std::vector<pid_t> tids(native_->others);
      for (const StackRequest& request : requests_)
        tids.push_back(request.tid);
      drop_native_states(tids);
    }
    for (const std::size_t i : indices) {
      if (in_time) {
        readings_[i].proof = Proof::Paused;
        readings_[i].code_proven = true;
        continue;
      }
      readings_[i].moving = readings_[i].walk.frames.size();
      readings_[i].doubt = "reading took longer than the thread was held";
    }
  }

  void tell_refusals(const std::vector<std::size_t>& indices) {
    for (const std::size_t i : indices) {
      const std::string why = paused_.refusal(requests_[i].tid);
      if (readings_[i].proof != Proof::None || why.empty()) continue;
      readings_[i].doubt += ", and it could not be paused: " + why;
    }
  }

  [[nodiscard]] std::vector<std::size_t> all_requests() const {
    std::vector<std::size_t> all(requests_.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    return all;
  }

  /// Holds all threads for what their native stacks take, and reads their Python stacks meanwhile:
  /// a few at a time, as nobody needs to stand until everybody else was read. On a busy machine
  /// some don't stop in time: they are asked again.
  void read_with_native_states() {
    constexpr int kTries = 3;
    constexpr std::size_t kAtATime = 32;
    std::vector<std::size_t> indices = all_requests();
    const auto tid_of = [&](std::size_t i) { return requests_[i].tid; };
    std::stable_sort(indices.begin(), indices.end(),
                     [&](std::size_t a, std::size_t b) { return tid_of(a) < tid_of(b); });
    std::vector<pid_t> others = native_->others;
    for (int i = 0; i < kTries && !(indices.empty() && others.empty()); ++i) {
      std::size_t index = 0;
      std::size_t other = 0;
      while (index < indices.size() || other < others.size()) {
        std::size_t end = std::min(index + kAtATime, indices.size());
        // One with states in several interpreters is one thread.
        while (end > index && end < indices.size() &&
               tid_of(indices[end]) == tid_of(indices[end - 1]))
          ++end;
        const std::size_t room = kAtATime - std::min(kAtATime, end - index);
        const std::size_t other_end = std::min(other + room, others.size());
        read_held({indices.begin() + static_cast<std::ptrdiff_t>(index),
                   indices.begin() + static_cast<std::ptrdiff_t>(end)},
                  std::span(others).subspan(other, other_end - other));
        index = end;
        other = other_end;
      }
      std::erase_if(indices, [&](std::size_t n) { return !paused_.is_late(requests_[n].tid); });
      std::erase_if(others, [&](pid_t tid) { return !paused_.is_late(tid); });
    }
  }

  /// `others` run no Python; with native states only.
  void read_held(std::vector<std::size_t> indices, std::span<const pid_t> others) {
    std::erase_if(indices, [&](std::size_t i) {
      return (native_ == nullptr && readings_[i].proof != Proof::None) || requests_[i].tid == 0;
    });
    const std::vector<std::size_t> wanted = indices;
    std::vector<pid_t> tids;
    for (const std::size_t i : indices)
      tids.push_back(requests_[i].tid);
    tids.insert(tids.end(), others.begin(), others.end());
    // One with states in several interpreters is one thread.
    std::sort(tids.begin(), tids.end());
    tids.erase(std::unique(tids.begin(), tids.end()), tids.end());
    // Of a recording, nothing needs to be held.
    if (threads_.hold || native_ == nullptr) paused_.hold(tids, native_ != nullptr, log_);
    std::erase_if(indices, [&](std::size_t i) { return !paused_.holds(requests_[i].tid); });
    auto walks = read_again(indices);
    std::vector<std::size_t> walked;
    for (std::size_t n = 0; n < indices.size(); ++n) {
      if (!walks[n].error.empty()) continue;
      readings_[indices[n]].walk = std::move(walks[n]);
      readings_[indices[n]].proof = Proof::None;
      walked.push_back(indices[n]);
    }
    if (native_ != nullptr) take_native_states(wanted, others);
    load_code();
    reload_code(walked);
    const bool in_time = paused_.release();
    if (!in_time && native_ != nullptr) drop_native_states(tids);
    for (std::size_t n = 0; n < indices.size(); ++n) {
      StackReading& reading = readings_[indices[n]];
      if (!walks[n].error.empty()) {
        if (reading.proof != Proof::None) continue;
        reading.doubt += ", and paused it could not be read: " + walks[n].error;
      } else if (!in_time) {
        reading.moving = reading.walk.frames.size();
        reading.doubt += ", and reading it took longer than it was paused";
      } else {
        reading.proof = Proof::Paused;
        reading.code_proven = true;
        reading.moving = 0;
        reading.doubt.clear();
      }
    }
  }

  /// Copies what the native stacks take, while their threads stand.
  void take_native_states(std::span<const std::size_t> indices, std::span<const pid_t> others) {
    StackCopier copier(native_->maps, stack_budget_);
    for (const std::size_t i : indices) {
      if (requests_[i].tid != 0) take_native_state(requests_[i].tid, readings_[i].walk, copier);
    }
    for (const pid_t tid : others)
      take_native_state(tid, {}, copier);
    copier.copy(memory_);
  }

  /// The threads went on while their states were taken.
  void drop_native_states(std::span<const pid_t> tids) {
    for (const pid_t tid : tids) {
      if (native_->states.erase(tid) != 0) {
        native_->refusals[tid] = "not for long enough to copy its stack";
      }
    }
  }

  void take_native_state(pid_t tid, const FrameWalk& walk, StackCopier& copier) const {
    const Registers* registers =
        threads_.recorded_registers ? threads_.recorded_registers(tid) : paused_.registers(tid);
    if (registers == nullptr) {
      std::string& why = native_->refusals[tid];
      why = paused_.refusal(tid);
      if (why.empty()) {
        why = threads_.recorded_registers ? "its registers were not recorded"
                                          : "its registers could not be read";
      }
      return;
    }
    NativeState& state = native_->states[tid];
    state.registers = *registers;
    std::vector<RemoteAddr> entries;
    for (const RawFrame& frame : walk.frames) {
      if (frame.is_entry()) entries.push_back(frame.at);
    }
    copier.add(state, entries);
  }

  const Memory& memory_;
  const DebugOffsets& offsets_;
  const std::vector<StackRequest>& requests_;
  CodeTable& codes_;
  const ThreadSource& threads_;
  const CaptureOptions& options_;
  PausedThreads& paused_;
  const Log& log_;
  NativeStates* native_;
  std::uint64_t stack_budget_ = StackCopier::kMaxBytes;
  std::unordered_map<std::uint64_t, CodeIdentity> codes_then_;  // when their stacks were proven
  std::vector<StackStart> starts_;
  std::vector<StackReading> readings_;
};

}  // namespace

std::vector<StackReading> read_stacks(const Memory& memory, const Runtime& runtime,
                                      const RawRuntime& raw, const Gils& gils_before,
                                      const std::vector<StackRequest>& requests, CodeTable& codes,
                                      const ThreadSource& threads, const CaptureOptions& options,
                                      PausedThreads& paused, const Log& log, NativeStates* native) {
  return StackReader(memory, runtime, requests, codes, threads, options, paused, log, native)
      .read(raw, gils_before);
}

}  // namespace pyscope
