#include "session/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/kernel_call.hpp"
#include "passes/lock_waits.hpp"
#include "passes/native_frames.hpp"
#include "passes/native_locks.hpp"
#include "passes/stacks.hpp"
#include "passes/tasks.hpp"
#include "passes/threads.hpp"
#include "passes/variables.hpp"
#include "values/secrets.hpp"

namespace pyscope {
namespace {

using Clock = std::chrono::steady_clock;

void copy_facts(Draft& draft) {
  const ProcessFacts& facts = draft.facts;
  const ValueLimits& values = draft.options.values;
  Snapshot& snapshot = draft.snapshot;
  snapshot.captured_at = facts.captured_at;
  snapshot.host = facts.host;
  snapshot.pid = facts.pid;
  snapshot.namespace_pid = facts.namespace_pid;
  snapshot.command = values.show_secrets
                         ? facts.command
                         : mask_command(facts.command, SecretNames(values.secret_names));
  snapshot.executable = facts.executable;
  snapshot.started_at = facts.started_at;
  snapshot.python.version = draft.offsets().version().text();
  snapshot.python.free_threaded = draft.offsets().version().free_threaded;
}

bool have_all(const Draft& draft, bool (*wanted)(Proof)) {
  const auto threads = std::span(draft.threads).first(draft.wanted);
  return std::all_of(threads.begin(), threads.end(),
                     [&](const ThreadDraft& thread) { return wanted(thread.stack.proof); });
}

bool stacks_proven(const Draft& draft) {
  return have_all(draft, [](Proof proof) { return proof != Proof::None; });
}

bool all_held(const Draft& draft) {
  return have_all(draft, [](Proof proof) { return proof == Proof::Paused; });
}

/// Says what isn't there because nobody answered for it.
void tell_unanswered(Snapshot& snapshot) {
  const std::vector<std::string> unanswered = KernelCall::unanswered(snapshot.pid);
  if (unanswered.empty()) return;
  snapshot.capture.complete = false;
  snapshot.warnings.push_back(fmt::format(
      "what lies there is left out, since the kernel gets no answer (is a file system dead?): {}",
      fmt::join(unanswered, ", ")));
}

}  // namespace

Session::Session(const Target& target, Runtime runtime, Log log)
    : target_(target),
      runtime_(std::move(runtime)),
      log_(std::move(log)),
      image_(target.memory()),
      memory_(image_, budget_),
      codes_(memory_, runtime_.offsets),
      copier_(target, runtime_, image_, log_) {}

Result<Draft> Session::read(const CaptureOptions& options) {
  codes_.begin_snapshot();
  if (!facts_) facts_ = target_.facts();
  Draft draft{.target = target_,
              .memory = memory_,
              .runtime = runtime_,
              .facts = *facts_,
              .options = options,
              .log = log_,
              .deadline = budget_.deadline(),
              .codes = codes_,
              .asyncio_lists = asyncio_lists_,
              .image = image_,
              .copier = copier_,
              .instant = serving_ ? &copier_.tasks() : nullptr,
              .preliminary = within_,
              .holds = ThreadHolds(target_.living())};
  copy_facts(draft);
  if (options.native != Native::Off) {
    // The mappings are read before any thread stands still.
    draft.native.emplace().maps = target_.mappings();
  }
  if (auto ok = list_threads(draft); !ok) return fail(std::move(ok).error());
  // Names are read after the stacks, so that they don't delay the proof of the stacks. But threads
  // can't be chosen without their names.
  if (!options.threads.empty()) {
    name_threads(draft);
    if (auto ok = select_threads(draft); !ok) return fail(std::move(ok).error());
  }
  read_stacks(draft);
  if (options.tasks) read_tasks(draft);
  if (options.locals) read_variables(draft);
  if (options.threads.empty()) name_threads(draft);
  drop_ended_threads(draft);
  find_lock_waits(draft);
  // Threads may stand still up to here. From here on they move.
  end_hold(draft);
  return draft;
}

Result<LocatedSnapshot> Session::snapshot(const CaptureOptions& options,
                                          Surroundings surroundings) {
  const auto begin = Clock::now();
  budget_.begin_anew(Deadline::after(options.timeout));
  if (facts_ && target_.living() != nullptr) facts_->captured_at = std::chrono::system_clock::now();
  const std::int64_t preempted_before = copier_.microseconds();
  // The module that has the lists may be imported later.
  if (options.tasks && !asyncio_lists_)
    asyncio_lists_ = find_asyncio_lists(target_, memory_, runtime_.offsets, log_);
  std::optional<Draft> draft;
  const auto take = [&](Result<Draft> result) -> Result<void> {
    draft.reset();
    if (!result) return fail(std::move(result).error());
    draft.emplace(*std::move(result));
    return {};
  };
  Result<void> ok;
  tries_ = 0;
  // Held threads stand anyway.
  if (!within_ && options.native == Native::Off && options.pause != Pause::All) {
    const bool one_instant = read_at_one_instant([&] {
      ok = take(read(options));
      // No moment has a thread that doesn't exist.
      if (draft) return judge(*draft);
      return ok.error().kind == ErrorKind::Usage ? AtInstant::Settled : AtInstant::Incomplete;
    });
    if (!draft && one_instant) return fail(std::move(ok).error());
    if (draft && one_instant) {
      draft->snapshot.capture.one_instant = true;
    } else if (draft && (draft->instant != nullptr || !stacks_proven(*draft) || options.locals ||
                         options.tasks)) {
      // What was read of a moment, but not whole, is no better than what is read piece by piece.
      draft.reset();
    }
  }
  if (!draft) {
    ok = take(read(options));
    if (!ok) return fail(std::move(ok).error());
  }
  CaptureStats& capture = draft->snapshot.capture;
  capture.preempted_us += copier_.microseconds() - preempted_before;
  capture.attempts = std::max(capture.attempts, tries_);
  capture.one_instant = capture.one_instant || (options.pause == Pause::All && all_held(*draft));
  LocatedSnapshot located = finish(*std::move(draft), surroundings);
  located.snapshot.capture.duration_us =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count();
  return located;
}

AtInstant Session::judge(const Draft& draft) {
  if (!serving_) {
    described_.clear();
    copier_.take_tasks(draft.tasks);
  }
  // What the kernel said of a thread that hasn't run since holds for the moment, too. Only of the
  // others it has to be asked within: each takes some ten microseconds.
  constexpr std::size_t kMostDescribed = 64;
  bool complete = true;
  std::vector<std::uint64_t> ended;
  for (const ThreadDraft& entry : draft.threads) {
    const pid_t tid = entry.thread.tid;
    if (tid == 0) {
      ended.push_back(entry.raw->native_id);
    } else if (entry.thread.state != ThreadState::Blocked && !entry.thread.runs_in &&
               std::find(described_.begin(), described_.end(), tid) == described_.end() &&
               described_.size() < kMostDescribed) {
      described_.push_back(tid);
      complete = complete && (!serving_ || entry.thread.state != ThreadState::Unknown);
    }
  }
  if (serving_ && !ended.empty()) {
    // A thread that has ended, or was started since the kernel listed the threads.
    copier_.list_tasks();
    complete = complete && std::none_of(ended.begin(), ended.end(), [&](std::uint64_t native_id) {
                 return copier_.knows(native_id);
               });
  }
  if (!complete) return AtInstant::Incomplete;
  const bool settled = !draft.unsettled && draft.snapshot.capture.complete && stacks_proven(draft);
  return settled ? AtInstant::Settled : AtInstant::Contradictory;
}

bool Session::read_at_one_instant(const std::function<AtInstant()>& read) {
  stillness_ = Stillness::Unknown;
  const bool rests = copier_.mark();
  if (!rests && !copier_.possible()) return false;
  within_ = true;
  described_.clear();
  image_.note();
  const AtInstant first = read();
  image_.pass();
  if (rests && first == AtInstant::Settled && copier_.stood_since_mark()) {
    stillness_ = Stillness::Rests;
  } else if (try_instants(read)) {
    stillness_ = Stillness::Copied;
  }
  within_ = false;
  return stillness_ != Stillness::Unknown;
}

bool Session::read_more(const std::function<void()>& read) {
  if (stillness_ != Stillness::Copied) {
    read();
    return stillness_ == Stillness::Rests && copier_.stood_since_mark();
  }
  image_.serve();
  read();
  image_.pass();
  log_("{} reads went beyond the pages of that moment", image_.missed());
  return image_.missed() == 0;
}

bool Session::try_instants(const std::function<AtInstant()>& read) {
  // A try takes as long as the copying, and now and then a time slice of others.
  // Bound: tries for one instant
  constexpr int kMostTries = 50;
  constexpr int kMostReadings = 25;
  constexpr int kMostContradictions = 12;
  const auto latest = budget_.deadline().or_earlier(Clock::now() + std::chrono::milliseconds(100));
  int readings = 0;
  int contradictions = 0;
  for (int i = 1; i <= kMostTries && readings < kMostReadings; ++i) {
    tries_ = i;
    if (i > 1 && Clock::now() >= latest) break;
    const auto outcome = copier_.try_once(described_);
    if (outcome == InstantCopier::Outcome::Impossible) return false;
    if (outcome == InstantCopier::Outcome::TryAgain) continue;
    ++readings;
    image_.serve();
    serving_ = true;
    const AtInstant result = read();
    serving_ = false;
    image_.pass();
    log_("{} pages copied at one moment, try {}: {} reads went beyond them", image_.pages(), i,
         image_.missed());
    if (image_.missed() != 0 || result == AtInstant::Incomplete) continue;
    // What goes on contradicting itself is told as such.
    if (result == AtInstant::Settled || ++contradictions == kMostContradictions) return true;
  }
  return false;
}

LocatedSnapshot Session::finish(Draft draft, Surroundings surroundings) {
  describe_waits(draft, surroundings == Surroundings::All);
  // To confirm them, the target is looked at as it is later.
  if (!within_) {
    confirm_lock_waits(draft);
    find_native_locks(draft);
  }
  if (surroundings == Surroundings::All) find_process_deadlocks(draft);
  if (surroundings == Surroundings::All) describe_task_descriptors(draft);
  draft.snapshot.interpreters = describe_interpreters(draft);
  draft.snapshot.codes = codes_.codes();
  LocatedSnapshot located;
  for (ThreadDraft& thread : std::span(draft.threads).first(draft.wanted)) {
    auto& frames = located.frames.emplace_back();
    for (const std::size_t raw_frame : thread.raw_frames)
      frames.push_back(thread.stack.walk.frames[raw_frame]);
    draft.snapshot.threads.push_back(std::move(thread.thread));
  }
  if (draft.native) add_native_frames(draft, located.frames);
  if (budget_.deadline().has_passed()) {
    draft.snapshot.capture.complete = false;
    draft.snapshot.warnings.emplace_back(
        "the time limit was reached: what is shown was read until then; --timeout gives more time");
  }
  located.snapshot = std::move(draft.snapshot);
  located.runtime = std::move(draft.raw);
  if (draft.options.source && target_.living() != nullptr) {
    if (!sources_) {
      sources_.emplace([this](const std::string& path) { return target_.open_source(path); },
                       facts_->started_at.value_or(std::chrono::system_clock::time_point{}), log_);
    }
    add_source_lines(located.snapshot, *sources_);
  }
  tell_unanswered(located.snapshot);
  for (SuspendedStack& stack : located.snapshot.stacks)
    stack.consistent = located.snapshot.capture.one_instant && stack.error.empty();
  located.snapshot.capture.consistent = assess(located.snapshot).verified();
  return located;
}

Result<Snapshot> read_snapshot(const Target& target, const Runtime& runtime,
                               const CaptureOptions& options, const Log& log) {
  return Session(target, runtime, log).snapshot(options).map([](LocatedSnapshot located) {
    return std::move(located.snapshot);
  });
}

}  // namespace pyscope
