// What is kept between snapshots of one target, and the passes in their order.
#pragma once

#include <optional>
#include <vector>

#include "base/log.hpp"
#include "frames/walker.hpp"
#include "memory/deadline_memory.hpp"
#include "passes/draft.hpp"
#include "pyscope/capture.hpp"
#include "pyscope/error.hpp"
#include "pyscope/snapshot.hpp"
#include "python/code.hpp"
#include "source/source_lines.hpp"
#include "structures/runtime.hpp"
#include "target/target.hpp"

namespace pyscope {

/// A snapshot, and where its frames lie. The places are valid as long as the target stands still.
struct LocatedSnapshot {
  Snapshot snapshot;
  RawRuntime runtime;
  /// For each thread of the snapshot its frames in the target's memory, one for each frame there.
  std::vector<std::vector<RawFrame>> frames;
};

/// How far a snapshot asks the kernel about what lies outside of the target's memory.
enum class Surroundings : std::uint8_t {
  None,  // nothing beyond the threads themselves: for what is read again and again
  All,   // what descriptors are, who has their other ends, and who is stuck with whom
};

/// One target, of which any number of snapshots can be made. The second one costs less than the
/// first: the code objects are known, and so are the lines of source.
class Session {
 public:
  /// `target` must outlive this.
  Session(const Target& target, Runtime runtime, Log log);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Fails as a whole only if nothing could be read. Ends when the options' timeout has passed,
  /// with what was read by then.
  [[nodiscard]] Result<LocatedSnapshot> snapshot(const CaptureOptions& options,
                                                 Surroundings surroundings = Surroundings::All);

  [[nodiscard]] const Target& target() const { return target_; }
  [[nodiscard]] const Runtime& runtime() const { return runtime_; }
  [[nodiscard]] const Log& log() const { return log_; }
  /// The target's memory. It can be read until the deadline.
  [[nodiscard]] const Memory& memory() const { return memory_; }
  /// snapshot() sets it anew.
  void set_deadline(const Deadline& deadline) { memory_.set_deadline(deadline); }

 private:
  [[nodiscard]] LocatedSnapshot finish(Draft draft, Surroundings surroundings);

  const Target& target_;
  Runtime runtime_;
  Log log_;
  DeadlineMemory memory_;
  CodeTable codes_;
  std::optional<ProcessFacts> facts_;
  std::optional<SourceReader> sources_;
};

/// One snapshot of a target that isn't looked at again.
[[nodiscard]] Result<Snapshot> read_snapshot(const Target& target, const Runtime& runtime,
                                             const CaptureOptions& options, const Log& log);

}  // namespace pyscope
