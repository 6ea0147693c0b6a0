// The descriptors of a process in words: a socket with its addresses, a pipe with the processes at
// its other end, a file with its path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "process/process.hpp"

namespace pyscope {

struct Descriptor {
  std::string kind;    // "socket", "pipe", "file", "device", "epoll", "eventfd", "timerfd",
                       // "inotify", "signal", "child" (a pidfd), "io_uring" or "other"; empty: it
                       // isn't open, or can't be read
  std::string target;  // which one, in words; may hold any bytes; empty: not known
};

/// The descriptors that an epoll instance watches, by its text in /proc/PID/fdinfo.
[[nodiscard]] std::vector<int> parse_epoll_targets(std::string_view fdinfo);

/// The value behind "key:" in a text of /proc/PID/fdinfo, without the space around it; empty if
/// the key isn't there.
[[nodiscard]] std::string_view fdinfo_value(std::string_view fdinfo, std::string_view key);

/// Names the signals of a set in the kernel's form (bit 0 is signal 1): "SIGINT, SIGTERM". A set of
/// nearly all signals is described by those that it lacks.
[[nodiscard]] std::string name_signals(std::uint64_t set);

/// "fd 3 (tcp …), fd 4 (pipe …) and 12 more", for up to four.
[[nodiscard]] std::string list_descriptors(const std::vector<std::string>& named,
                                           std::size_t count);

/// Looks descriptors up in two steps. want() names each descriptor that is needed; then one
/// resolve() gathers for all of them together what is costly to find out.
class Descriptors {
 public:
  /// A list of descriptors names so many of them, and counts the rest.
  static constexpr std::size_t kMostNamed = 4;

  /// Process and log must outlive this object.
  Descriptors(const Process& process, const Log& log);

  void want(int fd);
  void resolve();

  /// Empty for a descriptor that wasn't wanted.
  [[nodiscard]] Descriptor describe(int fd) const;
  /// "fd 5 (tcp …)", for a list of several.
  [[nodiscard]] std::string name(int fd) const;
  /// The process that holds the lock on the file for which the target waits; empty: not known.
  [[nodiscard]] std::string lock_holder(int fd) const;

  /// Turns a path that the kernel gave into the path that the target itself would write.
  [[nodiscard]] std::string inside_root(std::string path) const;

 private:
  struct Entry {
    std::string link;
    Descriptor descriptor;
    std::uint64_t inode = 0;  // of a socket
    bool is_pipe = false;     // or a FIFO
    bool reads = false;       // what the pipe is open for
    bool writes = false;
    bool direct = false;       // wanted itself, and not only watched by an epoll instance
    std::vector<int> watched;  // by an epoll instance
  };

  void look_at(int fd, Entry& entry);
  void look_at_anonymous(int fd, std::string_view name, Entry& entry);
  void look_at_path(int fd, Entry& entry);
  [[nodiscard]] std::string read_fdinfo(int fd) const;
  void resolve_sockets();
  void resolve_other_ends();
  [[nodiscard]] std::string protocol_of(int fd) const;

  const Process& process_;
  const Log& log_;
  std::string root_;  // of the target, as we see it; empty where it is ours
  std::unordered_map<int, Entry> entries_;
  std::unordered_map<std::uint64_t, std::uint32_t> peers_;  // of unix sockets, by their inodes
};

}  // namespace pyscope
