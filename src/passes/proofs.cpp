#include "passes/proofs.hpp"

#include <fmt/core.h>
#include <tsl/robin_set.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <unordered_set>

#include "frames/verified_walk.hpp"
#include "memory/page_cache.hpp"
#include "native/stack_copier.hpp"
#include "passes/threads.hpp"

namespace pyscope {

namespace {

class StackProver {
 public:
  StackProver(Draft& draft, std::span<ThreadDraft> threads, const StackOptions& options)
      : draft_(draft),
        memory_(draft.memory),
        offsets_(draft.offsets()),
        threads_(threads),
        codes_(draft.codes),
        living_(draft.target.living()),
        options_(options),
        holds_(draft.holds),
        log_(draft.log),
        native_(options.native && draft.native ? &*draft.native : nullptr) {
    for (const ThreadDraft& thread : threads_) {
      StackStart start = thread.raw->stack;
      start.max_frames = max_frames();
      starts_.push_back(start);
    }
  }

  void prove() {
    if (draft_.instant != nullptr) {
      read_at_instant();
      return;
    }
    const auto at_rest = mark_blocked_holders();
    {
      const PageCache stacks(memory_);
      auto walks = walk_frames(stacks, offsets_, starts_);
      for (std::size_t i = 0; i < walks.size(); ++i)
        reading(i).walk = std::move(walks[i]);
    }
    // The code is read before the second look at the GILs, which proves it with the stacks.
    load_code();
    const Gils gils_after = read_gils(memory_, offsets_, draft_.raw);
    std::vector<std::size_t> unproven;
    std::vector<std::size_t> held;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (reading(i).walk.over_limit) {
        reading(i).doubt = "it has more frames than are read";
      } else if (!reading(i).walk.error.empty()) {
        unproven.push_back(i);
      } else if (holds_.holds(tid(i))) {
        held.push_back(i);
      } else if (stood_still(i, gils_after)) {
        reading(i).proof = Proof::Gil;
        reading(i).code_proven = true;
      } else if (const auto mark = at_rest.find(i);
                 mark != at_rest.end() &&
                 living_->switches_at_rest(tid(i)) == mark->second.switches) {
        reading(i).proof = Proof::AtRest;
        reading(i).code_proven = true;
        if (mark->second.task) describe_again(draft_, threads_[i], *mark->second.task);
      } else {
        unproven.push_back(i);
      }
    }
    believe_held(held);
    if (options_.pause == Pause::All) {
      if (native_ != nullptr) take_native_states(all_threads(), native_->others);
    } else if (native_ != nullptr) {
      read_with_native_states();
      std::erase_if(unproven, [&](std::size_t i) { return reading(i).proof != Proof::None; });
    }
    if (draft_.is_read_again() && !unproven.empty()) return;
    prove_preempted(unproven);
    prove_running(unproven);
    load_code();
    doubt_replaced_code();
    if (options_.pause == Pause::Unverified && native_ == nullptr) read_held(unproven, {});
    if (options_.pause != Pause::Never || native_ != nullptr) tell_refusals(unproven);
  }

 private:
  [[nodiscard]] pid_t tid(std::size_t i) const { return threads_[i].thread.tid; }
  [[nodiscard]] StackReading& reading(std::size_t i) const { return threads_[i].stack; }

  [[nodiscard]] std::size_t max_frames() const {
    // Native frames are put between all Python frames, down to the outermost.
    if (native_ != nullptr) return std::numeric_limits<std::size_t>::max();
    // Frames that haven't begun to run are read and then left out, and need room beyond the limit.
    constexpr std::size_t kIncomplete = 2;
    constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
    const std::size_t wanted = options_.max_frames.value_or(kAll);
    return wanted > kAll - kIncomplete ? kAll : wanted + kIncomplete;
  }

  [[nodiscard]] Proof proof_at_instant(std::size_t i) const {
    if (draft_.instant->preempted) return Proof::Preempted;
    const auto gil = draft_.gils.find(threads_[i].interpreter->gil.raw());
    const bool last = gil != draft_.gils.end() && gil->second.last_holder == threads_[i].raw->at;
    return last ? Proof::AtRest : Proof::Gil;
  }

  /// All stacks are of one moment, if all that was read of them was copied then.
  void read_at_instant() {
    const PageCache stacks(memory_);
    auto walks = walk_frames(stacks, offsets_, starts_);
    for (std::size_t i = 0; i < walks.size(); ++i)
      reading(i).walk = std::move(walks[i]);
    load_code();
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      draft_.unsettled = draft_.unsettled || !reading(i).walk.error.empty();
      if (draft_.at_one_instant()) {
        reading(i).proof = proof_at_instant(i);
        reading(i).code_proven = true;
      } else {
        reading(i).moving = reading(i).walk.frames.size();
        reading(i).doubt = "not all of it could be copied at one moment";
      }
    }
  }

  /// The GIL doesn't tell whether the thread that had it last has run since. If that thread is
  /// blocked, as in an idle process, the kernel tells, and the stack needn't be copied twice.
  struct RestMark {
    std::uint64_t switches = 0;
    std::optional<Task> task;  // what the kernel said after it counted these
  };
  [[nodiscard]] std::unordered_map<std::size_t, RestMark> mark_blocked_holders() {
    std::unordered_map<std::size_t, RestMark> marks;
    if (living_ == nullptr) return marks;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const auto gil = draft_.gils.find(threads_[i].interpreter->gil.raw());
      if (gil == draft_.gils.end() || gil->second.last_holder != threads_[i].raw->at ||
          threads_[i].thread.state != ThreadState::Blocked || tid(i) == 0) {
        continue;
      }
      const auto mark = living_->switches_at_rest(tid(i));
      if (!mark) continue;
      // The thread state was read before the mark, so its current frame is read again.
      const RemoteAddr state = threads_[i].raw->at;
      const PageCache fresh(memory_);
      const auto start = read_stack_start(Reader(fresh, offsets_), state);
      if (!start || start->unreadable) continue;
      starts_[i].current_frame = start->current_frame;
      starts_[i].cframe = start->cframe;
      marks.emplace(i, RestMark{*mark, living_->thread(tid(i))});
    }
    return marks;
  }

  /// Whether the thread is known not to have run Python code since before its thread state was
  /// read.
  [[nodiscard]] bool stood_still(std::size_t i, const Gils& gils_after) const {
    const std::uint64_t gil = threads_[i].interpreter->gil.raw();
    const auto before = draft_.gils.find(gil);
    const auto after = gils_after.find(gil);
    return before != draft_.gils.end() && after != gils_after.end() &&
           before->second == after->second && before->second.last_holder != threads_[i].raw->at;
  }

  /// Reads the code that the stacks run as far as it isn't known.
  void load_code() {
    std::vector<const FrameWalk*> walks;
    for (const ThreadDraft& thread : threads_)
      walks.push_back(&thread.stack.walk);
    codes_.load(codes_of(walks));
  }

  /// The code objects that these stacks run, each once.
  [[nodiscard]] static std::vector<RemoteAddr> codes_of(
      const std::vector<const FrameWalk*>& walks) {
    std::vector<RemoteAddr> codes;
    tsl::robin_set<std::uint64_t> seen;
    for (const FrameWalk* walk : walks) {
      for (const RawFrame& frame : walk->frames) {
        if (!frame.is_entry() && seen.insert(frame.executable.raw()).second) {
          codes.push_back(frame.executable);
        }
      }
    }
    return codes;
  }

  /// Reads the code of these stacks, whose threads stand: what isn't known yet, and what has been
  /// replaced since it was read. Returns the latter.
  [[nodiscard]] std::unordered_set<std::uint64_t> renew_code(
      const std::vector<const FrameWalk*>& walks) {
    std::vector<RemoteAddr> codes = codes_of(walks);
    std::vector<RemoteAddr> known;
    std::copy_if(codes.begin(), codes.end(), std::back_inserter(known),
                 [&](RemoteAddr code) { return codes_.knows(code); });
    auto replaced = codes_.replaced(known);
    if (!replaced.empty()) codes_.reload(replaced);
    codes_.load(std::move(codes));
    return replaced;
  }

  /// Takes the proof from stacks whose code may have been another one when they were proven.
  void doubt_replaced_code() {
    std::vector<RemoteAddr> codes;
    std::unordered_set<std::uint64_t> doubtful;
    tsl::robin_set<std::uint64_t> seen;
    const auto for_each_code = [&](const auto& visit) {
      for (ThreadDraft& thread : threads_) {
        StackReading& reading = thread.stack;
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

  /// There is room for one code at an address: stacks that ran what lay there before it was
  /// replaced lose their proof.
  void doubt_codes(const std::unordered_set<std::uint64_t>& replaced) {
    if (replaced.empty()) return;
    for (ThreadDraft& thread : threads_) {
      StackReading& reading = thread.stack;
      if (reading.proof == Proof::None) continue;
      if (std::any_of(reading.walk.frames.begin(), reading.walk.frames.end(),
                      [&](const RawFrame& frame) {
                        return !frame.is_entry() && replaced.contains(frame.executable.raw());
                      })) {
        doubt_code(reading);
      }
    }
  }

  /// Reads stacks while whoever had the GIL last can't run: pyscope runs on that thread's CPU. As
  /// nobody else may run Python code without the GIL, none of the threads that share it does, and
  /// all their stacks are those of one moment. Takes what is proven out of `unproven`.
  void prove_preempted(std::vector<std::size_t>& unproven) {
    if (living_ == nullptr || native_ != nullptr || holds_.holds_any()) return;
    std::map<std::uint64_t, std::vector<std::size_t>> by_gil;
    for (const std::size_t i : unproven) {
      const RemoteAddr gil = threads_[i].interpreter->gil;
      if (gil && tid(i) != 0) by_gil[gil.raw()].push_back(i);
    }
    // A GIL whose threads can't be proven costs a tenth of a second; all of them no more than this.
    constexpr auto kTimeForAll = std::chrono::milliseconds(500);
    const auto deadline =
        draft_.deadline.or_earlier(std::chrono::steady_clock::now() + kTimeForAll);
    for (const auto& [gil, indices] : by_gil) {
      if (std::chrono::steady_clock::now() >= deadline) break;
      PreemptedRead(*this, RemoteAddr{gil}, indices).try_until_proven(deadline);
    }
    std::erase_if(unproven, [&](std::size_t i) { return reading(i).proof != Proof::None; });
  }

  /// The reading of the threads that share one GIL.
  class PreemptedRead {
   public:
    using Clock = std::chrono::steady_clock;

    PreemptedRead(StackProver& prover, RemoteAddr gil, const std::vector<std::size_t>& unproven)
        : prover_(prover), draft_(prover.draft_), gil_(gil), unproven_(unproven) {
      for (std::size_t i = 0; i < prover.threads_.size(); ++i) {
        if (prover.threads_[i].interpreter->gil == gil && prover.tid(i) != 0) sharing_.push_back(i);
      }
    }

    void try_until_proven(Clock::time_point latest) {
      // A try takes as long as the read, and now and then a time slice of others.
      constexpr int kMostTries = 50;
      // Bound: tries for all GILs
      constexpr auto kMostTime = std::chrono::milliseconds(100);
      const auto deadline = std::min(latest, Clock::now() + kMostTime);
      int tries = 0;
      Outcome outcome = Outcome::TryAgain;
      while (outcome == Outcome::TryAgain && tries < kMostTries &&
             (tries == 0 || Clock::now() < deadline)) {
        ++tries;
        outcome = try_once();
      }
      for (const auto& [tid, preemption] : preemptions_) {
        if (preemption) draft_.snapshot.capture.preempted_us += preemption->microseconds();
      }
      prover_.log_("the GIL at {:#x}: {} threads read while its last holder {} run, try {}",
                   gil_.raw(), reads_.size(), outcome == Outcome::Proven ? "could not" : "may have",
                   tries);
      prover_.doubt_codes(replaced_);
      if (outcome == Outcome::Proven) take(tries);
    }

   private:
    enum class Outcome : std::uint8_t { Proven, TryAgain, Impossible };
    struct Read {
      std::size_t index = 0;
      FrameWalk walk;
      std::optional<Task> task;  // what the kernel said at that moment
    };

    [[nodiscard]] std::optional<GilMoment> moment() const {
      const Gils gils = read_gils(prover_.memory_, prover_.offsets_, draft_.raw);
      const auto found = gils.find(gil_.raw());
      return found == gils.end() ? std::nullopt : std::optional(found->second);
    }

    Outcome try_once() {
      const auto at_first = moment();
      if (!at_first) return Outcome::Impossible;
      const auto holder = draft_.tid_of_state.find(at_first->last_holder.raw());
      if (holder == draft_.tid_of_state.end() || holder->second == 0) {
        prover_.log_("who had the GIL at {:#x} last is not among the threads that were listed",
                     gil_.raw());
        return Outcome::Impossible;
      }
      const pid_t tid = holder->second;
      auto& preemption = preemptions_[tid];
      if (!preemption) {
        auto made = prover_.living_->preempt(tid);
        if (!made) return tell(tid, made.error());
        preemption = *std::move(made);
      }
      std::optional<GilMoment> before;
      std::optional<GilMoment> after;
      const auto stood_still = preemption->during([&] {
        before = moment();
        // Another thread took the GIL before this one was kept from running.
        if (!before || before->last_holder != at_first->last_holder) return;
        read(*before);
        after = moment();
      });
      if (!stood_still) return tell(tid, stood_still.error());
      if (!*stood_still || !after || before != after) return Outcome::TryAgain;
      moment_ = *after;
      return Outcome::Proven;
    }

    Outcome tell(pid_t tid, const Error& error) const {
      prover_.log_("thread {} can't be kept from running: {}", tid, error.message);
      return Outcome::Impossible;
    }

    /// All that is wanted of this moment. Little: after some milliseconds another CPU takes over
    /// the thread that waits for this one.
    void read(const GilMoment& moment) {
      constexpr std::size_t kMostAtOnce = 64;
      // Others are proven for another moment of the GIL. Few enough are read again for this one, so
      // that all are told as they were together.
      const auto first = draft_.gils.find(gil_.raw());
      const bool moved_on = first == draft_.gils.end() || first->second != moment;
      const auto& indices = moved_on && sharing_.size() <= kMostAtOnce ? sharing_ : unproven_;
      reads_.clear();
      auto walks = prover_.read_again(indices);
      for (std::size_t n = 0; n < indices.size(); ++n) {
        Read& read = reads_.emplace_back();
        read.index = indices[n];
        read.walk = std::move(walks[n]);
        if (indices.size() <= kMostAtOnce) {
          read.task = prover_.living_->thread(prover_.tid(read.index));
        }
      }
      std::vector<const FrameWalk*> read_walks;
      for (const Read& read : reads_)
        read_walks.push_back(&read.walk);
      replaced_.merge(prover_.renew_code(read_walks));
    }

    void take(int tries) {
      draft_.told_gils[gil_.raw()] = moment_;
      for (Read& read : reads_) {
        // A thread that had ended by then keeps what was read of it before.
        if (!read.walk.error.empty()) continue;
        ThreadDraft& thread = prover_.threads_[read.index];
        StackReading& reading = thread.stack;
        reading.walk = std::move(read.walk);
        reading.attempts = tries;
        reading.moving = 0;
        reading.proof = Proof::Preempted;
        reading.code_proven = true;
        if (read.task) describe_again(draft_, thread, *read.task);
      }
    }

    StackProver& prover_;
    Draft& draft_;
    RemoteAddr gil_;
    const std::vector<std::size_t>& unproven_;
    std::vector<std::size_t> sharing_;  // all threads that this GIL is for
    std::unordered_map<pid_t, std::unique_ptr<Preemption>> preemptions_;
    std::vector<Read> reads_;                     // of the last try
    GilMoment moment_;                            // at which they were proven
    std::unordered_set<std::uint64_t> replaced_;  // code that was read anew
  };

  void prove_running(const std::vector<std::size_t>& indices) {
    // A thread that never stands still for a few microseconds costs some milliseconds. All such
    // threads together cost no more than this.
    constexpr auto kTimeForOne = std::chrono::milliseconds(20);
    constexpr auto kTimeForAll = std::chrono::seconds(1);
    // Threads that stand meanwhile must not stand longer than this.
    constexpr auto kTimeWhileHolding = std::chrono::milliseconds(20);
    const auto deadline_for_all = draft_.deadline.or_earlier(
        std::chrono::steady_clock::now() + (holds_.holds_any() ? kTimeWhileHolding : kTimeForAll));
    for (const std::size_t i : indices) {
      StackReading& reading = threads_[i].stack;
      VerifyBudget budget;
      budget.deadline = std::min(std::chrono::steady_clock::now() + kTimeForOne, deadline_for_all);
      auto result = walk_verified(memory_, offsets_, codes_, threads_[i].raw->at, starts_[i],
                                  std::move(reading.walk), budget);
      reading.walk = std::move(result.walk);
      codes_then_.merge(result.codes);
      if (result.verified) reading.proof = Proof::TwoCopies;
      reading.moving = result.moving;
      reading.attempts = result.attempts;
      if (!result.verified) read_at_rest(i);
      log_("thread {}: {} after {} tries", tid(i),
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
    if (living_ == nullptr || tid(index) == 0) return;
    const auto before = living_->switches_at_rest(tid(index));
    if (!before) return;
    FrameWalk walk = read_again({index}).front();
    const auto task = living_->thread(tid(index));
    if (!walk.error.empty() || living_->switches_at_rest(tid(index)) != before) return;
    reading(index).walk = std::move(walk);
    reading(index).proof = Proof::AtRest;
    reading(index).moving = 0;
    if (task) describe_again(draft_, threads_[index], *task);
  }

  /// Reads the stacks of threads that stand still, from the frames that are current now.
  std::vector<FrameWalk> read_again(const std::vector<std::size_t>& indices) {
    const PageCache cache(memory_);
    const Reader reader(cache, offsets_);
    std::vector<RemoteAddr> states;
    for (const std::size_t i : indices)
      states.push_back(threads_[i].raw->at);
    reader.prefetch(states, offsets_[Field::ThreadSize]);
    std::vector<StackStart> starts;
    std::vector<std::string> failures;
    for (const std::size_t i : indices) {
      const RawThread& thread = *threads_[i].raw;
      StackStart start = starts_[i];
      const auto stack = read_stack_start(reader, thread.at);
      const auto native_id = reader.field<std::uint64_t>(thread.at, Field::ThreadNativeThreadId);
      const bool same = stack && native_id && *native_id == thread.recorded_id;
      start.current_frame = same ? stack->current_frame : RemoteAddr{};
      start.cframe = same ? stack->cframe : RemoteAddr{};
      start.chunk = same ? stack->chunk : RemoteAddr{};
      start.unreadable = same && stack->unreadable;
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

  /// The stacks of threads that stand, for as long as end_hold() doesn't say that they went on.
  void believe_held(const std::vector<std::size_t>& indices) {
    for (const std::size_t i : indices) {
      reading(i).proof = Proof::Paused;
      reading(i).code_proven = true;
    }
  }

  void tell_refusals(const std::vector<std::size_t>& indices) {
    for (const std::size_t i : indices) {
      const std::string why = holds_.refusal(tid(i));
      if (reading(i).proof != Proof::None || why.empty()) continue;
      reading(i).doubt += ", and it could not be paused: " + why;
    }
  }

  [[nodiscard]] std::vector<std::size_t> all_threads() const {
    std::vector<std::size_t> all(threads_.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    return all;
  }

  /// Holds all threads while their native stacks are copied, and reads their Python stacks
  /// meanwhile. A few stand at a time, so that none has to wait for all the others. On a busy
  /// machine some don't stop in time: these are asked again.
  void read_with_native_states() {
    constexpr int kTries = 3;
    constexpr std::size_t kAtATime = 32;
    std::vector<std::size_t> indices = all_threads();
    std::stable_sort(indices.begin(), indices.end(),
                     [&](std::size_t a, std::size_t b) { return tid(a) < tid(b); });
    std::vector<pid_t> others = native_->others;
    for (int i = 0; i < kTries && !(indices.empty() && others.empty()); ++i) {
      std::size_t index = 0;
      std::size_t other = 0;
      while (index < indices.size() || other < others.size()) {
        std::size_t end = std::min(index + kAtATime, indices.size());
        // A thread that has states in several interpreters is held once.
        while (end > index && end < indices.size() && tid(indices[end]) == tid(indices[end - 1]))
          ++end;
        const std::size_t room = kAtATime - std::min(kAtATime, end - index);
        const std::size_t other_end = std::min(other + room, others.size());
        read_held({indices.begin() + static_cast<std::ptrdiff_t>(index),
                   indices.begin() + static_cast<std::ptrdiff_t>(end)},
                  std::span(others).subspan(other, other_end - other));
        index = end;
        other = other_end;
      }
      std::erase_if(indices, [&](std::size_t n) { return !holds_.is_late(tid(n)); });
      std::erase_if(others, [&](pid_t tid) { return !holds_.is_late(tid); });
    }
  }

  /// `others` are threads that run no Python. They are there only if native states are taken.
  void read_held(std::vector<std::size_t> indices, std::span<const pid_t> others) {
    std::erase_if(indices, [&](std::size_t i) {
      return (native_ == nullptr && reading(i).proof != Proof::None) || tid(i) == 0;
    });
    const std::vector<std::size_t> wanted = indices;
    std::vector<pid_t> tids;
    for (const std::size_t i : indices)
      tids.push_back(tid(i));
    tids.insert(tids.end(), others.begin(), others.end());
    // A thread that has states in several interpreters is held once.
    std::sort(tids.begin(), tids.end());
    tids.erase(std::unique(tids.begin(), tids.end()), tids.end());
    // Nothing moves in a recording, so nothing needs to be held.
    if (living_ != nullptr || native_ == nullptr) holds_.hold(tids, log_);
    std::erase_if(indices, [&](std::size_t i) { return !holds_.holds(tid(i)); });
    auto walks = read_again(indices);
    const Gils gils = read_gils(memory_, offsets_, draft_.raw);
    std::vector<std::optional<Task>> tasks;
    for (const std::size_t i : indices) {
      const Task* task = find_task(draft_, threads_[i].raw->native_id);
      tasks.push_back(task == nullptr ? std::nullopt : std::optional(as_held(draft_, *task)));
    }
    std::vector<std::size_t> walked;
    for (std::size_t n = 0; n < indices.size(); ++n) {
      if (!walks[n].error.empty()) continue;
      reading(indices[n]).walk = std::move(walks[n]);
      reading(indices[n]).proof = Proof::None;
      walked.push_back(indices[n]);
    }
    if (native_ != nullptr) take_native_states(wanted, others);
    std::vector<const FrameWalk*> standing;
    for (const std::size_t i : walked)
      standing.push_back(&reading(i).walk);
    // The stacks of these have no proof yet, and so lose none.
    doubt_codes(renew_code(standing));
    const bool in_time = holds_.release();
    if (!in_time && native_ != nullptr) drop_native_states(tids);
    for (std::size_t n = 0; n < indices.size(); ++n) {
      StackReading& reading = threads_[indices[n]].stack;
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
        const std::uint64_t gil = threads_[indices[n]].interpreter->gil.raw();
        if (const auto moment = gils.find(gil); moment != gils.end()) {
          draft_.told_gils[gil] = moment->second;
        }
        if (tasks[n]) describe_again(draft_, threads_[indices[n]], *tasks[n]);
      }
    }
  }

  /// Copies what the native stacks take, while their threads stand.
  void take_native_states(std::span<const std::size_t> indices, std::span<const pid_t> others) {
    StackCopier copier(native_->maps, stack_budget_);
    for (const std::size_t i : indices) {
      if (tid(i) != 0) take_native_state(tid(i), reading(i).walk, copier);
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
    const Registers* registers = draft_.target.registers(tid);
    if (registers == nullptr) registers = holds_.registers(tid);
    if (registers == nullptr) {
      std::string& why = native_->refusals[tid];
      why = living_ == nullptr ? "" : holds_.refusal(tid);
      if (why.empty()) {
        why = living_ == nullptr ? "its registers were not recorded"
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

  Draft& draft_;
  const BudgetedMemory& memory_;
  const DebugOffsets& offsets_;
  std::span<ThreadDraft> threads_;
  CodeTable& codes_;
  const LivingProcess* living_;  // null: nothing moves
  const StackOptions& options_;
  ThreadHolds& holds_;
  const Log& log_;
  NativeStates* native_;  // null: no native frames
  std::uint64_t stack_budget_ = StackCopier::kMaxBytes;
  std::unordered_map<std::uint64_t, CodeIdentity> codes_then_;  // when their stacks were proven
  std::vector<StackStart> starts_;
};

}  // namespace

void prove_stacks(Draft& draft, std::span<ThreadDraft> threads, const StackOptions& options) {
  StackProver(draft, threads, options).prove();
}

}  // namespace pyscope
