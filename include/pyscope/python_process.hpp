// One Python process as a list of them shows it: plain data, as in snapshot.hpp.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pyscope/error.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

struct PythonProcess {
  std::chrono::system_clock::time_point captured_at;
  std::string host;
  pid_t pid = 0;
  pid_t namespace_pid = 0;  // in its own pid namespace; equal to pid where that is ours
  pid_t parent_pid = 0;     // 0: its parent is in another pid namespace
  uid_t uid = 0;            // the effective one, as we see it
  std::string user;         // by /etc/passwd here; empty: no such user there
  /// Empty if its memory can't be read.
  std::optional<PythonBuild> python;
  std::string executable;
  std::size_t threads = 0;  // of the operating system's
  /// Of these, the ones that run Python; empty: it wasn't looked into.
  std::optional<std::size_t> python_threads = {};
  std::string activity = {};  // of its main thread, in words; empty: likewise
  std::uint64_t cpu_time_us = 0;
  std::optional<std::chrono::system_clock::time_point> started_at;
  /// The id of its container (64 digits with Docker and containerd, a name with LXC); empty: the
  /// control group names none.
  std::string container;
  std::string unit;                  // of systemd: "shop.service"; empty: likewise
  std::vector<std::string> command;  // with secrets masked
  std::optional<Error> refusal;      // why it can't be dumped, if it can't
};

}  // namespace pyscope
