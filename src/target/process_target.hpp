// A live process as a target.
#pragma once

#include <memory>

#include "memory/live_memory.hpp"
#include "target/target.hpp"

namespace pyscope {

class ProcessTarget final : public Target, public LivingProcess {
 public:
  explicit ProcessTarget(Process process)
      : process_(std::move(process)), memory_(process_.pid(), process_.directory()) {}
  // The memory refers to the process's descriptor.
  ProcessTarget(const ProcessTarget&) = delete;
  ProcessTarget& operator=(const ProcessTarget&) = delete;

  [[nodiscard]] const LiveMemory& memory() const override { return memory_; }
  [[nodiscard]] ProcessFacts facts() const override { return process_.facts(); }
  [[nodiscard]] std::vector<Task> threads(ThreadDetail detail) const override {
    return process_.tasks(detail == ThreadDetail::SystemCalls);
  }
  [[nodiscard]] std::vector<Mapping> mappings() const override {
    return process_.maps().value_or(std::vector<Mapping>{});
  }
  [[nodiscard]] Result<UniqueFd> open_mapped_file(const Mapping& mapping,
                                                  const std::vector<std::byte>& head,
                                                  const Log& log) const override {
    return process_.open_mapped_file(mapping, head, log);
  }
  [[nodiscard]] UniqueFd open_source(const std::string& path) const override;
  [[nodiscard]] const Registers* registers(pid_t /*tid*/) const override { return nullptr; }
  [[nodiscard]] const LivingProcess* living() const override { return this; }

  [[nodiscard]] std::optional<std::uint64_t> switches_at_rest(pid_t tid) const override {
    return process_.switches_at_rest(tid);
  }
  [[nodiscard]] Result<std::unique_ptr<Preemption>> preempt(pid_t tid) const override;
  [[nodiscard]] std::optional<Task> thread(pid_t tid) const override { return process_.task(tid); }
  [[nodiscard]] std::optional<std::uint64_t> times_scheduled(pid_t tid) const override {
    return process_.times_scheduled(tid);
  }
  [[nodiscard]] Result<ThreadHold> hold(std::span<const pid_t> tids,
                                        const HoldLimits& limits) const override {
    return ThreadHold::stop(tids, limits);
  }
  [[nodiscard]] const Process* process() const override { return &process_; }
  [[nodiscard]] bool ended() const override { return process_.ended(); }
  [[nodiscard]] bool replaced_program() const override { return process_.replaced_program(); }

 private:
  Process process_;
  LiveMemory memory_;
};

}  // namespace pyscope
