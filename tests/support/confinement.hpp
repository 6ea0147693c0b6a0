// What a child can be confined to before its exec.
#pragma once

#include <linux/filter.h>

#include <span>

namespace pyscope::test {

/// From now on a filter decides about the system calls of the calling process. False where that
/// isn't possible.
[[nodiscard]] bool enter_filter(std::span<sock_filter> filter);
/// From now on this system call fails with this error in the calling process. Ends the process with
/// status 99 where that isn't possible.
void refuse_system_call(unsigned number, int error);
/// From now on the calling thread runs on this CPU alone. Ends the process likewise.
void run_on_cpu(unsigned cpu);

}  // namespace pyscope::test
