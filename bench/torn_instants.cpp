// Whether pictures that are called one instant are of one, and values that are called consistent
// existed.
//
//   torn_instants SNAPSHOTS [--without-proof]
//
// Runs tests/live/programs/instants.py on each release build of the manifest that
// PYSCOPE_TEST_INTERPRETERS names, takes the snapshots with variables, and prints a Markdown table.
// Exit status 1 if any was impossible. With --without-proof, pyscope only believes that it keeps
// threads from running and that no GIL changes hands: that shows what the judge finds then.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/short_turns.hpp"
#include "memory/page_cache.hpp"
#include "python/runtime_state.hpp"
#include "session/attach.hpp"
#include "session/session.hpp"
#include "support/instant_pictures.hpp"
#include "support/target.hpp"

using namespace pyscope;

namespace {

/// Says at once that the thread didn't run.
class NoPreemption final : public Preemption {
 public:
  [[nodiscard]] Result<bool> during(const std::function<void()>& read) override {
    read();
    return true;
  }
  [[nodiscard]] std::int64_t microseconds() const override { return 0; }
};

/// The memory, but the GIL's as it was at first.
class FrozenGil final : public Memory {
 public:
  FrozenGil(const Memory& memory, RemoteAddr gil) : memory_(memory), gil_{gil, 64} {
    (void)memory_.read(gil, bytes_);
  }
  void read_many(std::span<ReadRequest> requests) const override {
    memory_.read_many(requests);
    for (ReadRequest& request : requests) {
      const std::uint64_t begin = std::max(request.at.raw(), gil_.start.raw());
      const std::uint64_t end =
          std::min(request.at.raw() + request.out.size(), gil_.start.raw() + bytes_.size());
      if (begin >= end) continue;
      std::memcpy(request.out.data() + (begin - request.at.raw()),
                  bytes_.data() + (begin - gil_.start.raw()), end - begin);
    }
  }

 private:
  const Memory& memory_;
  RemoteRange gil_;
  std::array<std::byte, 64> bytes_{};
};

/// A process of which everything is believed.
class Unproven final : public Target, public LivingProcess {
 public:
  Unproven(const ProcessTarget& process, RemoteAddr gil)
      : process_(process), memory_(process.memory(), gil) {}

  [[nodiscard]] const Memory& memory() const override { return memory_; }
  [[nodiscard]] ProcessFacts facts() const override { return process_.facts(); }
  [[nodiscard]] std::vector<Task> threads(ThreadDetail detail) const override {
    return process_.threads(detail);
  }
  [[nodiscard]] std::vector<Mapping> mappings() const override { return process_.mappings(); }
  [[nodiscard]] Result<UniqueFd> open_mapped_file(const Mapping& mapping,
                                                  const std::vector<std::byte>& head,
                                                  const Log& log) const override {
    return process_.open_mapped_file(mapping, head, log);
  }
  [[nodiscard]] UniqueFd open_source(const std::string& path) const override {
    return process_.open_source(path);
  }
  [[nodiscard]] const Registers* registers(pid_t) const override { return nullptr; }
  [[nodiscard]] const LivingProcess* living() const override { return this; }
  [[nodiscard]] std::optional<std::uint64_t> switches_at_rest(pid_t) const override { return {}; }
  [[nodiscard]] Result<std::unique_ptr<Preemption>> preempt(pid_t) const override {
    return std::make_unique<NoPreemption>();
  }
  [[nodiscard]] std::optional<Task> thread(pid_t tid) const override {
    return process_.thread(tid);
  }
  [[nodiscard]] std::optional<std::uint64_t> times_scheduled(pid_t tid) const override {
    return process_.times_scheduled(tid);
  }
  [[nodiscard]] Result<ThreadHold> hold(std::span<const pid_t> tids,
                                        const HoldLimits& limits) const override {
    return process_.hold(tids, limits);
  }
  [[nodiscard]] const Process* process() const override { return process_.process(); }
  [[nodiscard]] bool ended() const override { return process_.ended(); }
  [[nodiscard]] bool replaced_program() const override { return process_.replaced_program(); }

 private:
  const ProcessTarget& process_;
  FrozenGil memory_;
};

RemoteAddr find_gil(const AttachedProcess& attached) {
  Budget budget;
  const TargetMemory memory(attached.target->memory(), budget);
  const PageCache cache(memory);
  const auto runtime =
      read_interpreters(Reader(cache, attached.runtime.offsets), attached.runtime.at);
  return runtime ? runtime->interpreters.front().gil : RemoteAddr{};
}

bool run(const test::Interpreter& interpreter, std::size_t snapshots, bool proof) {
  test::Target process(interpreter, "instants.py");
  (void)process.read();
  const Log log;
  const auto attached = attach(process.pid(), log);
  if (!attached) {
    fmt::print(stderr, "torn_instants: {}\n", attached.error().message);
    return false;
  }
  const Unproven unproven(*attached->target, find_gil(*attached));
  const Target& target = proof ? static_cast<const Target&>(*attached->target) : unproven;
  Session session(target, attached->runtime, log);
  CaptureOptions options;
  options.source = false;
  options.locals = true;
  test::PictureTally tally;
  std::vector<double> times;
  double preempted = 0;
  for (std::size_t i = 0; i < snapshots; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto located = session.snapshot(options, Surroundings::None);
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
            .count());
    if (!located) continue;
    preempted += static_cast<double>(located->snapshot.capture.preempted_us);
    test::add_picture(located->snapshot, tally);
  }
  std::sort(times.begin(), times.end());
  fmt::print("| {} | {} | {} | {} | {} | {} | {} | {:.1f} | {:.0f} |\n", interpreter.version,
             tally.snapshots, tally.one_instant, tally.impossible, tally.values, tally.broken,
             tally.doubted, times[times.size() / 2],
             preempted / static_cast<double>(std::max<std::size_t>(1, tally.snapshots)));
  if (!tally.example.empty()) fmt::print(stderr, "broken: {}\n", tally.example);
  return tally.impossible == 0 && tally.broken == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: torn_instants SNAPSHOTS [--without-proof]\n");
    return 2;
  }
  const std::size_t snapshots = std::strtoul(argv[1], nullptr, 10);
  ask_for_short_turns();  // as the program does
  const bool proof = argc < 3 || std::string_view(argv[2]) != "--without-proof";
  fmt::print(
      "| CPython | snapshots | one instant | impossible | values | broken | frames in doubt | ms "
      "(median) | us preempted (mean) |\n"
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  bool good = true;
  for (const test::Interpreter& interpreter : test::interpreters()) {
    if (interpreter.kind == "release") good = run(interpreter, snapshots, proof) && good;
  }
  return good ? 0 : 1;
}
