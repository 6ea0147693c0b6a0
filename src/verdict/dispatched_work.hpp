// What a thread does whose outer functions only call others: an event loop, a server's loop, a
// worker of an executor.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>

#include "pyscope/diagnosis.hpp"
#include "pyscope/snapshot.hpp"
#include "verdict/activity.hpp"

namespace pyscope {

class DispatchedWork {
 public:
  using Clock = std::chrono::steady_clock;

  /// One sample of a thread that wants the CPU.
  void add_running(const Snapshot& snapshot, const Thread& thread, const Activity& activity);
  /// One sample of any thread. `callback` tells the callback that its event loop runs from all
  /// others; empty: it runs none. It was read at `read_at`, after the sample that began at `at`.
  void add_callback(const std::string& callback, Clock::time_point at, Clock::time_point read_at);

  /// The functions that were called most often, with their shares, as the verdict.
  void judge(const std::string& dispatcher, ThreadDiagnosis& result) const;
  /// How long the event loop was kept from all else, if that was long.
  void tell_blocking(ThreadDiagnosis& result) const;

 private:
  std::size_t samples_ = 0;
  std::map<std::string, std::size_t> called_;  // by the dispatcher: "handle (app.py)"
  std::map<std::string, std::size_t> places_;  // "parse (app.py:31)"
  std::string callback_;
  Clock::time_point callback_since_;
  std::chrono::duration<double> longest_{};
  bool blocks_now_ = false;  // the longest one goes on in the last sample
};

}  // namespace pyscope
