#include "base/short_turns.hpp"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace pyscope {

void ask_for_short_turns() {
  constexpr std::uint64_t kShortest = 100'000;  // nanoseconds
  // `struct sched_attr` in its first version (Linux 3.14): glibc 2.36 has no declaration of it.
  struct {
    std::uint32_t size;
    std::uint32_t policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime;
    std::uint64_t deadline;
    std::uint64_t period;
  } attributes{};
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  // For other policies the run time means something else.
  if (attributes.policy != SCHED_OTHER && attributes.policy != SCHED_BATCH) return;
  attributes.flags = 0;
  attributes.runtime = kShortest;
  (void)::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace pyscope
