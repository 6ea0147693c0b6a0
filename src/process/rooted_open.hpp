#pragma once

#include <string>

#include "base/unique_fd.hpp"
#include "process/credentials.hpp"

namespace pyscope {

/// Opens a regular file for reading, by a path as the target sees it, below the target's root.
/// `proc_directory` is a descriptor of /proc/PID. No symbolic link and no ".." of the target leads
/// out of its root, and no FIFO or device is ever opened. So nothing in the target's file system
/// can make this block, or reach a file of ours. Empty with errno set if the file can't be opened.
///
/// Uses openat2 (Linux 5.6), or the same steps one by one on older kernels.
[[nodiscard]] UniqueFd open_below_root(int proc_directory, const std::string& path);

/// A folder by such a path, as a place to find files in (O_PATH).
[[nodiscard]] UniqueFd open_folder_below_root(int proc_directory, const std::string& path);

/// The same as open_below_root() for a path relative to the target's working directory. ".." may
/// lead upwards within the root. An absolute path begins at the root.
///
/// Only what a process with these credentials may read is opened, else errno is EACCES. The target
/// chooses the path, and this program may be allowed to read more than the target. Nothing is
/// opened on a FUSE file system that is mounted below the root, else errno is EREMOTE: the program
/// behind such a file system, which may be the target's, may never answer.
[[nodiscard]] UniqueFd open_from_working_directory(int proc_directory, const std::string& path,
                                                   const Credentials& reader);

/// Opens a file for reading by a descriptor that was opened with O_PATH, if the file is a regular
/// one; else empty, with errno set. Opening anything else may have effects, or block.
[[nodiscard]] UniqueFd open_if_regular(const UniqueFd& peek);

}  // namespace pyscope
