// Values at paths of a process: attaches, holds its threads if asked to, and reads.
#include "pyscope/inspect.hpp"

#include <algorithm>

#include "passes/stacks.hpp"
#include "session/inspection.hpp"
#include "target/attach.hpp"

namespace pyscope {

struct Inspector::State {
  InspectOptions options;
  Target target;
};

Inspector::Inspector(std::unique_ptr<State> state) : state_(std::move(state)) {}
Inspector::Inspector(Inspector&&) noexcept = default;
Inspector& Inspector::operator=(Inspector&&) noexcept = default;
Inspector::~Inspector() = default;

Result<Inspector> Inspector::attach(pid_t pid, const InspectOptions& options) {
  auto target = pyscope::attach(pid, Log(options.log));
  if (!target) return fail(std::move(target).error());
  return Inspector(std::make_unique<State>(State{options, *std::move(target)}));
}

Result<Inspection> Inspector::read(const std::vector<std::string>& paths) const {
  const InspectOptions& options = state_->options;
  const Target& target = state_->target;
  const Process& process = *target.process;
  const Log log(options.log);

  Inspection inspection;
  inspection.captured_at = std::chrono::system_clock::now();
  const ThreadSource holder{.list = nullptr, .hold = ThreadHold::stop};
  PausedThreads paused(holder);
  bool all_held = false;
  if (options.pause) {
    std::vector<pid_t> tids;
    for (const Task& task : process.tasks(false))
      tids.push_back(task.tid);
    paused.hold(tids, false, log);
    all_held = std::all_of(tids.begin(), tids.end(), [&](pid_t tid) { return paused.holds(tid); });
    for (const pid_t tid : tids) {
      if (!paused.holds(tid)) log("thread {} isn't held: {}", tid, paused.refusal(tid));
    }
  }

  const InspectionSource source{
      .memory = *target.memory,
      .runtime = target.runtime,
      .facts =
          [&] {
            ProcessFacts facts = process.facts();
            facts.tasks = process.tasks(true);
            return facts;
          },
      .threads = thread_source(process),
  };
  auto values = read_inspection(source, paths, options, all_held, log);
  if (paused.threads() > 0) {
    const bool in_time = paused.release();
    inspection.paused_us = paused.microseconds();
    if (all_held && !in_time && values) {
      for (InspectedValue& value : *values)
        value.consistent = false;
    }
  }
  if (process.ended() || !runs_same_program(target)) return fail(gone_while_read(process));
  if (!values) return fail(std::move(values).error());
  inspection.values = *std::move(values);
  return inspection;
}

int exit_status(const Inspection& inspection) {
  int status = 0;
  bool any_read = false;
  for (const InspectedValue& value : inspection.values) {
    any_read = any_read || !value.error;
    if (!value.error && value.consistent && !value.unreadable) continue;
    if (status == 0) {
      status = exit_status(value.error ? value.error->kind : ErrorKind::Malformed);
    }
  }
  return status != 0 && any_read ? exit_status(ErrorKind::Malformed) : status;
}

}  // namespace pyscope
