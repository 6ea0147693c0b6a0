// From many snapshots of one process to what each thread is doing over time.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pyscope/diagnosis.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// The thread of a snapshot whose stack was judged; null if it isn't there.
[[nodiscard]] const Thread* find_thread(const Snapshot& snapshot, const ThreadDiagnosis& judged);

class DiagnosisBuilder {
 public:
  using Clock = std::chrono::steady_clock;

  DiagnosisBuilder();
  DiagnosisBuilder(const DiagnosisBuilder&) = delete;
  DiagnosisBuilder& operator=(const DiagnosisBuilder&) = delete;
  ~DiagnosisBuilder();

  /// What a sample tells of a thread's stack besides the snapshot.
  struct StackMarks {
    /// For each frame: two with the same id in a thread's stacks of two samples may be one call,
    /// others are not.
    std::vector<std::uint64_t> frames;
    /// The innermost function is about to jump backwards, as at the end of a loop.
    bool at_backward_jump = false;
    /// What tells the callback that the thread's event loop runs from all others; empty: it runs
    /// none. Read later than the stack.
    std::string callback = {};
    Clock::time_point callback_read_at = {};
  };
  /// One more sample, with the marks of each of its threads.
  void add(Snapshot snapshot, const std::vector<StackMarks>& stacks, Clock::time_point at);

  /// A frame of the last sample: indices into its threads, and their frames.
  struct Place {
    std::size_t thread = 0;
    std::size_t frame = 0;
  };
  /// The frames whose variables tell a slow loop from an endless one: of threads that want the CPU,
  /// the innermost frame that was there in every sample.
  [[nodiscard]] std::vector<Place> frames_to_look_into() const;
  /// The variables of such a frame, as they are now.
  void add_variables(const Place& place, const Locals& locals, Clock::time_point at);

  [[nodiscard]] Diagnosis finish();

 private:
  class ThreadHistory;
  std::map<StackId, std::unique_ptr<ThreadHistory>> stacks_;
  Snapshot last_;
  std::vector<ThreadHistory*> of_last_;  // for each thread of the last sample
  std::size_t samples_ = 0;
  Clock::time_point first_at_;
  Clock::time_point last_at_;
};

}  // namespace pyscope
