// What is kept between snapshots of one target, and the passes in their order.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/log.hpp"
#include "frames/walker.hpp"
#include "memory/budgeted_memory.hpp"
#include "memory/instant_image.hpp"
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

/// What is known of something that was read at one moment.
enum class AtInstant : std::uint8_t {
  Settled,
  Contradictory,  // as in the middle of one of the interpreter's operations: another moment may do
  Incomplete,     // something that was there then is not known; another moment may do
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

  /// Calls `read` until all that it reads is of one moment, at which no thread ran Python code; at
  /// first with the threads running. True if the last call was of one moment; then it may still be
  /// Contradictory. Otherwise nothing is known.
  [[nodiscard]] bool read_at_one_instant(const std::function<AtInstant()>& read);

  /// Reads more, of the same moment as the last snapshot. False if that isn't known: the threads
  /// may have run, or what is read was not copied then. The next snapshot's copies will have it.
  [[nodiscard]] bool read_more(const std::function<void()>& read);

  [[nodiscard]] const Target& target() const { return target_; }
  [[nodiscard]] const Runtime& runtime() const { return runtime_; }
  [[nodiscard]] const Log& log() const { return log_; }
  /// The target's memory, with the budget of the present reading.
  [[nodiscard]] const BudgetedMemory& memory() const { return memory_; }
  /// A reading begins. snapshot() begins another one.
  void begin_reading(const Deadline& deadline) { budget_.begin_anew(deadline); }

 private:
  [[nodiscard]] Result<Draft> read(const CaptureOptions& options);
  [[nodiscard]] LocatedSnapshot finish(Draft draft, Surroundings surroundings);
  [[nodiscard]] bool try_instants(const std::function<AtInstant()>& read);
  [[nodiscard]] AtInstant judge(const Draft& draft);

  const Target& target_;
  Runtime runtime_;
  Log log_;
  InstantImage image_;
  Budget budget_;
  TargetMemory memory_;
  CodeTable codes_;
  std::optional<AsyncioLists> asyncio_lists_;
  InstantCopier copier_;
  std::vector<pid_t> described_;  // the threads whose kernel state is wanted within a moment
  bool within_ = false;           // read_at_one_instant()
  bool serving_ = false;          // the copies of a moment
  /// What the last read_at_one_instant() read.
  enum class Stillness : std::uint8_t { Unknown, Rests, Copied };
  Stillness stillness_ = Stillness::Unknown;
  int tries_ = 0;  // of the last try_instants()
  std::optional<ProcessFacts> facts_;
  std::optional<SourceReader> sources_;
};

/// One snapshot of a target that isn't looked at again.
[[nodiscard]] Result<Snapshot> read_snapshot(const Target& target, const Runtime& runtime,
                                             const CaptureOptions& options, const Log& log);

}  // namespace pyscope
