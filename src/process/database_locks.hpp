// SQLite's locks: ranges of a database's file that /proc/locks lists. The format of SQLite's files
// has them at fixed places (https://www.sqlite.org/fileformat2.html, os_unix.c, wal.c).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "process/process.hpp"

namespace pyscope {

/// A lock of another process that keeps `waiter` from what it may want of a database.
struct DatabaseLock {
  std::uint64_t inode = 0;  // of the database, or of its "-shm" file
  pid_t holder = 0;
  bool in_index = false;  // it is in the "-shm" file of a database with a write-ahead log
  friend bool operator==(const DatabaseLock&, const DatabaseLock&) = default;
};

/// The locks in the text of /proc/locks that make SQLite's busy handler wait in `waiter`: those of
/// other processes that write; and, where `waiter` itself is about to write, those that read.
[[nodiscard]] std::vector<DatabaseLock> find_database_locks(std::string_view locks, pid_t waiter);

/// "the SQLite database app.db, locked by python3 (pid 12)": the database that the process has open
/// and that another process has locked. Empty if there is none, or more than one.
[[nodiscard]] std::string name_locked_database(const Process& process);

}  // namespace pyscope
