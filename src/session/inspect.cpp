// Values at paths of a live process: attaches, holds its threads if asked to, and reads.
#include "pyscope/inspect.hpp"

#include "base/shortage.hpp"
#include "passes/holds.hpp"
#include "session/attach.hpp"
#include "session/inspection.hpp"

namespace pyscope {

struct Inspector::State {
  InspectOptions options;
  AttachedProcess attached;
  Session session;  // refers to `attached`

  State(const InspectOptions& wanted, AttachedProcess process)
      : options(wanted),
        attached(std::move(process)),
        session(*attached.target, attached.runtime, Log(options.log)) {}
};

Inspector::Inspector(std::unique_ptr<State> state) : state_(std::move(state)) {}
Inspector::Inspector(Inspector&&) noexcept = default;
Inspector& Inspector::operator=(Inspector&&) noexcept = default;
Inspector::~Inspector() = default;

Result<Inspector> Inspector::attach(pid_t pid, const InspectOptions& options) {
  const ShortageWatch shortages;
  auto attached = shortages.judge(pyscope::attach(pid, Log(options.log)));
  if (!attached) return fail(std::move(attached).error());
  return Inspector(std::make_unique<State>(options, *std::move(attached)));
}

Result<Inspection> Inspector::read(const std::vector<std::string>& paths) const {
  const InspectOptions& options = state_->options;
  const ProcessTarget& target = *state_->attached.target;

  const ShortageWatch shortages;
  Inspection inspection;
  inspection.captured_at = std::chrono::system_clock::now();
  ThreadHolds holds(&target);
  if (options.pause) {
    const auto list = [&] {
      std::vector<pid_t> tids;
      for (const Task& task : target.threads(ThreadDetail::Scheduling))
        tids.push_back(task.tid);
      return tids;
    };
    holds.hold_all(list, state_->session.log());
  }
  const bool all_held = holds.holds_all();
  auto values = read_inspection(state_->session, paths, options, all_held);
  if (holds.threads() > 0) {
    const bool in_time = holds.release();
    inspection.paused_us = holds.microseconds();
    if (all_held && !in_time && values) {
      for (InspectedValue& value : *values)
        value.consistent = false;
    }
  }
  if (target.ended() || !runs_same_program(state_->attached)) {
    return fail(gone_while_read(*target.process()));
  }
  if (!values) return fail(std::move(values).error());
  inspection.values = *std::move(values);
  return shortages.judge(Result<Inspection>(std::move(inspection)));
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
