// The verdict on each thread, and the evidence for it: the model of `pyscope why`, as plain data.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// The worst first: the order in which somebody who looks for trouble wants to read them.
enum class Verdict : std::uint8_t {
  Deadlocked,      // one of several that wait for each other for ever, or it waits for itself
  WaitingForLock,  // for a lock, or for another thread to end
  Waiting,        // for what another thread has to bring about: a result, an event, room in a queue
  InNativeCode,   // one line of Python, unchanged, with CPU time used
  Looping,        // on the CPU, and again and again at the same places
  WaitingForGil,  // most of the time
  WaitingForIo,   // for what comes from outside: a peer, a pipe, a child
  Progressing,    // doing one thing after the other
  Sleeping,
  Idle,  // waiting for work
};

/// The name of a verdict as it stands in JSON: "waiting_for_lock".
[[nodiscard]] std::string_view verdict_name(Verdict verdict);

struct ThreadDiagnosis {
  pid_t tid = 0;
  std::uint64_t thread_state = 0;  // which of the thread's stacks it is, see Thread::thread_state
  std::int64_t interpreter = 0;    // the id of that stack's interpreter
  std::optional<std::string> name;
  /// Empty: it was seen too little, stood still by force, or its thread is in another interpreter.
  std::optional<Verdict> verdict;
  std::string summary;                // "waiting for self.lock, held by 4713 \"stock-sync\""
  std::vector<std::string> evidence;  // sentences
  std::size_t samples = 0;            // so often it was seen
};

struct Diagnosis {
  std::vector<ThreadDiagnosis> threads;  // the worst first
  std::size_t samples = 0;
  std::int64_t interval_us = 0;  // from one sample to the next, on the average
  std::int64_t duration_us = 0;  // from the first to the last
  std::size_t native_looks = 0;  // so often threads were held afterwards, for their native frames
  std::int64_t paused_us = 0;    // for how long at the most
  /// The last of the samples, with its deadlocks.
  Snapshot last;
};

}  // namespace pyscope
