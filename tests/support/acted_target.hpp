// A target whose memory and kernel are played by a test.
#pragma once

#include <cerrno>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "target/target.hpp"

namespace pyscope::test {

/// Nothing but memory and facts, as a recording has; with `switches`, a living process, too, that
/// can't be held.
class ActedTarget final : public Target, public LivingProcess {
 public:
  ActedTarget(const Memory& memory, ProcessFacts facts)
      : memory_(memory), facts_(std::move(facts)) {}

  std::function<std::vector<Task>()> list = [this] { return facts_.tasks; };
  std::function<std::optional<std::uint64_t>(pid_t)> switches;
  std::function<Result<ThreadHold>(std::span<const pid_t>)> on_hold = [](std::span<const pid_t>) {
    return fail(ErrorKind::Failed, "nothing can be held here");
  };
  std::function<Result<std::unique_ptr<Preemption>>(pid_t)> on_preempt = [](pid_t) {
    return fail(ErrorKind::Unsupported, "nothing can be preempted here");
  };
  const Process* descriptors = nullptr;

  [[nodiscard]] const Memory& memory() const override { return memory_; }
  [[nodiscard]] ProcessFacts facts() const override { return facts_; }
  [[nodiscard]] std::vector<Task> threads(ThreadDetail) const override { return list(); }
  [[nodiscard]] std::vector<Mapping> mappings() const override { return {}; }
  [[nodiscard]] Result<UniqueFd> open_mapped_file(const Mapping&, const std::vector<std::byte>&,
                                                  const Log&) const override {
    return fail(ErrorKind::Failed, "there are no files here");
  }
  [[nodiscard]] UniqueFd open_source(const std::string&) const override {
    errno = ENOENT;
    return UniqueFd{};
  }
  [[nodiscard]] const Registers* registers(pid_t) const override { return nullptr; }
  [[nodiscard]] const LivingProcess* living() const override { return switches ? this : nullptr; }

  [[nodiscard]] std::optional<std::uint64_t> switches_at_rest(pid_t tid) const override {
    return switches(tid);
  }
  [[nodiscard]] Result<std::unique_ptr<Preemption>> preempt(pid_t tid) const override {
    return on_preempt(tid);
  }
  [[nodiscard]] std::optional<Task> thread(pid_t tid) const override {
    for (const Task& task : list()) {
      if (task.tid == tid) return task;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<std::uint64_t> times_scheduled(pid_t tid) const override {
    const auto task = thread(tid);
    return task ? task->times_scheduled : std::nullopt;
  }
  [[nodiscard]] Result<ThreadHold> hold(std::span<const pid_t> tids,
                                        const HoldLimits&) const override {
    return on_hold(tids);
  }
  [[nodiscard]] const Process* process() const override { return descriptors; }
  [[nodiscard]] bool ended() const override { return false; }
  [[nodiscard]] bool replaced_program() const override { return false; }

 private:
  const Memory& memory_;
  ProcessFacts facts_;
};

}  // namespace pyscope::test
