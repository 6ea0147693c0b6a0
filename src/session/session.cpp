#include "session/session.hpp"

#include <algorithm>
#include <utility>

#include "passes/lock_waits.hpp"
#include "passes/native_frames.hpp"
#include "passes/stacks.hpp"
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

}  // namespace

Session::Session(const Target& target, Runtime runtime, Log log)
    : target_(target),
      runtime_(std::move(runtime)),
      log_(std::move(log)),
      memory_(target.memory()),
      codes_(memory_, runtime_.offsets) {}

Result<LocatedSnapshot> Session::snapshot(const CaptureOptions& options,
                                          Surroundings surroundings) {
  const auto begin = Clock::now();
  memory_.set_deadline(Deadline::after(options.timeout));
  codes_.begin_snapshot();
  if (!facts_) {
    facts_ = target_.facts();
  } else if (target_.living() != nullptr) {
    facts_->captured_at = std::chrono::system_clock::now();
  }
  Draft draft{.target = target_,
              .memory = memory_,
              .runtime = runtime_,
              .facts = *facts_,
              .options = options,
              .log = log_,
              .deadline = memory_.deadline(),
              .codes = codes_,
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
  if (options.locals) read_variables(draft);
  if (options.threads.empty()) name_threads(draft);
  drop_ended_threads(draft);
  find_lock_waits(draft);
  // Threads may stand still up to here. From here on they move.
  end_hold(draft);

  LocatedSnapshot located = finish(std::move(draft), surroundings);
  located.snapshot.capture.duration_us =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count();
  return located;
}

LocatedSnapshot Session::finish(Draft draft, Surroundings surroundings) {
  describe_waits(draft, surroundings == Surroundings::All);
  confirm_lock_waits(draft);
  if (surroundings == Surroundings::All) find_process_deadlocks(draft);
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
  if (memory_.deadline().has_passed()) {
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
