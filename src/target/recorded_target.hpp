// A recording as a target, and a live process while one is made of it.
#pragma once

#include <map>

#include "memory/image_memory.hpp"
#include "target/recording.hpp"
#include "target/target.hpp"

namespace pyscope {

/// Nothing moves in a recording, and there are no files beside it.
class RecordedTarget final : public Target {
 public:
  /// `recording` must outlive this.
  explicit RecordedTarget(const Recording& recording)
      : RecordedTarget(recording, recording.memory) {}
  /// With other memory than the recording's, for what alters or counts reads; `memory` must outlive
  /// this, too.
  RecordedTarget(const Recording& recording, const Memory& memory)
      : recording_(recording), memory_(memory) {}

  [[nodiscard]] const Memory& memory() const override { return memory_; }
  [[nodiscard]] ProcessFacts facts() const override { return recording_.facts; }
  [[nodiscard]] std::vector<Task> threads(ThreadDetail /*detail*/) const override {
    return recording_.facts.tasks;
  }
  [[nodiscard]] std::vector<Mapping> mappings() const override { return recording_.maps; }
  [[nodiscard]] Result<UniqueFd> open_mapped_file(const Mapping& mapping,
                                                  const std::vector<std::byte>& head,
                                                  const Log& log) const override;
  [[nodiscard]] UniqueFd open_source(const std::string& path) const override;
  [[nodiscard]] const Registers* registers(pid_t tid) const override {
    const auto found = recording_.registers.find(tid);
    return found == recording_.registers.end() ? nullptr : &found->second;
  }

 private:
  const Recording& recording_;
  const Memory& memory_;
};

/// Passes everything on to a live process, and keeps a copy of what a recording holds.
class TargetRecorder final : public Target, public LivingProcess {
 public:
  /// `target` must outlive this.
  explicit TargetRecorder(const Target& target)
      : target_(target), living_(*target.living()), memory_(target.memory()) {}

  [[nodiscard]] const RecordingMemory& memory() const override { return memory_; }
  [[nodiscard]] ProcessFacts facts() const override { return facts_ = target_.facts(); }
  [[nodiscard]] std::vector<Task> threads(ThreadDetail detail) const override;
  [[nodiscard]] std::vector<Mapping> mappings() const override {
    return mappings_ = target_.mappings();
  }
  [[nodiscard]] Result<UniqueFd> open_mapped_file(const Mapping& mapping,
                                                  const std::vector<std::byte>& head,
                                                  const Log& log) const override {
    return target_.open_mapped_file(mapping, head, log);
  }
  [[nodiscard]] UniqueFd open_source(const std::string& path) const override {
    return target_.open_source(path);
  }
  [[nodiscard]] const Registers* registers(pid_t tid) const override {
    return target_.registers(tid);
  }
  [[nodiscard]] const LivingProcess* living() const override { return this; }
  [[nodiscard]] std::optional<std::uint64_t> switches_at_rest(pid_t tid) const override {
    return living_.switches_at_rest(tid);
  }
  [[nodiscard]] Result<std::unique_ptr<Preemption>> preempt(pid_t tid) const override {
    return living_.preempt(tid);
  }
  [[nodiscard]] std::optional<Task> thread(pid_t tid) const override { return living_.thread(tid); }
  [[nodiscard]] std::optional<std::uint64_t> times_scheduled(pid_t tid) const override {
    return living_.times_scheduled(tid);
  }
  [[nodiscard]] Result<ThreadHold> hold(std::span<const pid_t> tids,
                                        const HoldLimits& limits) const override;
  [[nodiscard]] const Process* process() const override { return living_.process(); }
  [[nodiscard]] bool ended() const override { return living_.ended(); }
  [[nodiscard]] bool replaced_program() const override { return living_.replaced_program(); }

  /// What was read until now. `runtime` and the waits are the caller's to tell.
  [[nodiscard]] Recording recording(RemoteAddr runtime, std::vector<RecordedWait> waits) const;

 private:
  const Target& target_;
  const LivingProcess& living_;
  RecordingMemory memory_;
  // Reading is const for the caller; that it is noted down changes nothing.
  mutable ProcessFacts facts_;
  mutable std::optional<std::vector<Task>> first_threads_;
  mutable std::vector<Mapping> mappings_;
  mutable std::map<pid_t, Registers> registers_;
};

}  // namespace pyscope
