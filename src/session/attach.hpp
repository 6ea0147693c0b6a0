// From a PID to a process whose memory can be read and whose Python runtime is found.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "base/log.hpp"
#include "process/maps.hpp"
#include "pyscope/error.hpp"
#include "pyscope/snapshot.hpp"
#include "structures/runtime.hpp"
#include "target/process_target.hpp"

namespace pyscope {

/// A live process whose memory can be read, with its Python.
struct AttachedProcess {
  std::unique_ptr<ProcessTarget> target;
  Runtime runtime;
};

/// Files that were looked into and hold no Python. They are passed over in further processes, most
/// of which map the same libraries. May be used by several threads.
class FilesWithoutPython {
 public:
  [[nodiscard]] bool contains(const Mapping& file) const;
  void insert(const Mapping& file);

 private:
  // Device, inode and path: on some file systems the first two mean different files in different
  // containers.
  using Key = std::tuple<std::uint32_t, std::uint32_t, std::uint64_t, std::string>;
  mutable std::mutex mutex_;
  std::set<Key> files_;
};

/// What is known of a process, whether it can be read or not.
struct Sighting {
  Result<AttachedProcess> process;
  /// The version of its CPython, and whether that is free-threaded. The version of a CPython older
  /// than 3.11 may be guessed from a file's name. Empty if there is no CPython.
  std::optional<PythonBuild> python;
};

/// Does the same as attach(), and tells more of a process that can't be read.
[[nodiscard]] Sighting examine(pid_t pid, FilesWithoutPython& known, const Log& log,
                               bool accept_shut_down = false);

/// Pins the process, makes sure that it may be read, and finds its _PyRuntime: by the ELF section
/// .PyRuntime of a file that it has mapped, by scanning the writable segments for the cookie, or by
/// the exported symbol. With `accept_shut_down`, also a Python that has shut down
/// (Runtime::shut_down).
[[nodiscard]] Result<AttachedProcess> attach(pid_t pid, const Log& log,
                                             bool accept_shut_down = false);

/// Whether the memory is still that of the program that was attached to: after an execve the
/// process is the same one and its memory is another program's.
[[nodiscard]] bool runs_same_program(const AttachedProcess& attached);

/// The version in the name of an interpreter's file: "3.9" of "libpython3.9.so.1.0"; empty if the
/// name has none.
[[nodiscard]] std::string version_in_name(std::string_view file_name);

/// That the process is gone, or its program, for the one that was being read.
[[nodiscard]] Error gone_while_read(const Process& process);

}  // namespace pyscope
