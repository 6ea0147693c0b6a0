// Wires the stages together; the only file that knows them all.
#include "pyscope/capture.hpp"

#include <fmt/core.h>

#include <array>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "memory/image_memory.hpp"
#include "session/snapshot.hpp"
#include "source/source_lines.hpp"
#include "target/attach.hpp"
#include "target/recording.hpp"

namespace pyscope {
namespace {

std::vector<RecordedWait> waits_of(const Snapshot& snapshot) {
  std::vector<RecordedWait> waits;
  for (const Thread& thread : snapshot.threads) {
    if (thread.wait) waits.push_back({thread.tid, *thread.wait});
  }
  return waits;
}

void put_waits(const std::vector<RecordedWait>& waits, Snapshot& snapshot) {
  std::unordered_map<pid_t, const Wait*> by_tid;
  for (const RecordedWait& recorded : waits)
    by_tid.emplace(recorded.tid, &recorded.wait);
  for (Thread& thread : snapshot.threads) {
    const auto found = by_tid.find(thread.tid);
    if (found != by_tid.end() && thread.state == ThreadState::Blocked) thread.wait = *found->second;
  }
}

}  // namespace

Result<Snapshot> capture(pid_t pid, const CaptureOptions& options) {
  const Log log(options.log);
  constexpr int kMaxAttaches = 3;
  for (int attempt = 1;; ++attempt) {
    const auto target = attach(pid, log);
    if (!target) return fail(target.error());
    const Process& process = *target->process;
    // What the kernel says of the threads comes first: it is oldest when the stacks are read, and
    // not the other way round, so that nothing that pyscope does shows in it.
    ProcessFacts facts = process.facts();
    facts.tasks = process.tasks(true);

    const RecordingMemory recorder(*target->memory);
    const bool record = !options.record_path.empty();
    const Memory& memory = record ? static_cast<const Memory&>(recorder) : *target->memory;
    if (record) {
      // The table itself was read before there was a recorder.
      std::array<std::byte, DebugOffsets::kMaxSize> table{};
      (void)recorder.read(target->runtime.at, table);
    }
    ThreadSource threads = thread_source(process);
    threads.hold = ThreadHold::stop;
    threads.process = &process;
    std::map<pid_t, Registers> registers;
    std::vector<Mapping> maps;
    if (record) {
      threads.hold = [&registers](std::span<const pid_t> tids, const HoldLimits& limits) {
        auto hold = ThreadHold::stop(tids, limits);
        if (!hold || !limits.registers) return hold;
        for (const pid_t tid : tids) {
          if (const Registers* of_thread = hold->registers(tid)) registers[tid] = *of_thread;
        }
        return hold;
      };
      threads.maps = [&maps, list = threads.maps] { return maps = list(); };
    }
    auto snapshot = read_snapshot(memory, target->runtime, facts, threads, options, log);
    log("{} system calls to read memory", target->memory->system_calls());
    if (record) {
      // Also when it failed: that is the case that one wants to look at.
      auto ok = write_recording(
          options.record_path,
          {target->runtime.at, facts, recorder.image(),
           snapshot ? waits_of(*snapshot) : std::vector<RecordedWait>{}, maps, registers});
      if (!ok) return fail(std::move(ok).error());
    }
    if (process.ended()) return fail(gone_while_read(process));
    if (!runs_same_program(*target)) {
      if (attempt == kMaxAttaches) {
        return fail(
            ErrorKind::NoSuchProcess,
            fmt::format("process {} replaced its program while it was read, {} times in a row", pid,
                        attempt),
            "try again");
      }
      log("the process runs another program now: attaching again");
      continue;
    }
    if (snapshot && options.source) {
      SourceReader sources(process.directory(), process.started_at(), log);
      add_source_lines(*snapshot, sources);
    }
    return snapshot;
  }
}

Result<Snapshot> replay(const std::string& path, const CaptureOptions& options) {
  const Log log(options.log);
  const auto recording = read_recording(path);
  if (!recording) return fail(recording.error());
  std::array<std::byte, DebugOffsets::kMaxSize> table{};
  if (auto ok = recording->memory.read(recording->runtime, table); !ok) {
    return fail("the recorded table of offsets", ok.error());
  }
  auto offsets = DebugOffsets::decode(table);
  if (!offsets) return fail(std::move(offsets).error());
  const Runtime runtime{recording->runtime, *std::move(offsets)};
  ThreadSource threads;
  threads.list = [&] { return recording->facts.tasks; };
  threads.recorded_registers = [&](pid_t tid) -> const Registers* {
    const auto found = recording->registers.find(tid);
    return found == recording->registers.end() ? nullptr : &found->second;
  };
  threads.maps = [&] { return recording->maps; };
  auto snapshot =
      read_snapshot(recording->memory, runtime, recording->facts, threads, options, log);
  if (snapshot) put_waits(recording->waits, *snapshot);
  return snapshot;
}

}  // namespace pyscope
