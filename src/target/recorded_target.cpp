#include "target/recorded_target.hpp"

#include <cerrno>

namespace pyscope {

Result<UniqueFd> RecordedTarget::open_mapped_file(const Mapping& mapping,
                                                  const std::vector<std::byte>& /*head*/,
                                                  const Log& /*log*/) const {
  return fail(ErrorKind::Failed, "a recording has no files", mapping.path);
}

UniqueFd RecordedTarget::open_source(const std::string& /*path*/) const {
  errno = ENOENT;
  return UniqueFd{};
}

// The first listing is the one that the snapshot was made of; later ones only look for threads that
// have come or gone since.
std::vector<Task> TargetRecorder::threads(ThreadDetail detail) const {
  auto threads = target_.threads(detail);
  if (!first_threads_) first_threads_ = threads;
  return threads;
}

Result<ThreadHold> TargetRecorder::hold(std::span<const pid_t> tids,
                                        const HoldLimits& limits) const {
  auto hold = living_.hold(tids, limits);
  if (!hold) return hold;
  for (const pid_t tid : tids) {
    if (const Registers* of_thread = hold->registers(tid)) registers_[tid] = *of_thread;
  }
  return hold;
}

Recording TargetRecorder::recording(RemoteAddr runtime, std::vector<RecordedWait> waits) const {
  ProcessFacts facts = facts_;
  facts.tasks = first_threads_.value_or(std::vector<Task>{});
  return {runtime, std::move(facts), memory_.image(), std::move(waits), mappings_, registers_};
}

}  // namespace pyscope
