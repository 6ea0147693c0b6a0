// What the arguments of system calls tell, where they lie in memory that may hold anything. There
// is no process to ask, as in a recording.
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "paged_memory.hpp"
#include "passes/waits.hpp"

using namespace pyscope;
using test::PagedMemory;

namespace {

constexpr RemoteAddr kPlace{0x7f0000001000};
constexpr RemoteAddr kOther{0x7f0000005000};
constexpr RemoteAddr kMissing{0x7e0000000000};

std::optional<Wait> wait_in(const PagedMemory& memory, std::int64_t number,
                            std::array<std::uint64_t, 6> arguments) {
  Task task;
  task.tid = 4711;
  task.state = 'S';
  task.system_call = SystemCall{number, arguments};
  const std::array<const Task*, 1> tasks{&task};
  return read_waits(tasks, memory, nullptr, Log{}).at(0);
}

void put_text(PagedMemory& memory, RemoteAddr at, const std::string& text) {
  memory.write(at, std::as_bytes(std::span(text.data(), text.size() + 1)));
}

}  // namespace

TEST_CASE("a call on a descriptor waits for that one", "[waits]") {
  const PagedMemory memory;
  const auto wait = wait_in(memory, SYS_recvfrom, {12, 0x7f00, 4096, 0, 0, 0});
  REQUIRE(wait);
  CHECK(*wait == Wait{"socket", "recvfrom", 12, "", {}, {}});
  // The kernel looks at the lower half of an int.
  CHECK(wait_in(memory, SYS_read, {0xffffffff00000005, 0, 0, 0, 0, 0})->fd == 5);
  CHECK(wait_in(memory, SYS_fcntl, {5, F_SETLKW, 0, 0, 0, 0})->kind == "file_lock");
  CHECK(wait_in(memory, SYS_fcntl, {5, F_GETFL, 0, 0, 0, 0})->kind == "other");
  CHECK(wait_in(memory, SYS_flock, {5, 2, 0, 0, 0, 0})->kind == "file_lock");
}

TEST_CASE("a wait for a futex or in an unknown call needs no memory", "[waits]") {
  const PagedMemory memory;
  CHECK(*wait_in(memory, SYS_futex, {0x7f00, 0x189, 0, 0, 0, 0}) ==
        Wait{"futex", "futex", {}, "", {}, {}});
  CHECK(*wait_in(memory, 9999, {1, 2, 3, 4, 5, 6}) ==
        Wait{"other", "syscall 9999", {}, "", {}, {}});
  CHECK_FALSE(wait_in(memory, -1, {}));
  CHECK(memory.calls == 0);
}

#ifdef SYS_poll  // aarch64 has only ppoll, and of others, too, only the newer call
TEST_CASE("the descriptors of a poll are those of its array", "[waits]") {
  PagedMemory memory;
  const auto put = [&](const std::vector<int>& fds) {
    for (std::size_t i = 0; i < fds.size(); ++i)
      memory.put(kPlace + i * sizeof(pollfd), pollfd{fds[i], POLLIN, 0});
  };
  const auto poll = [&](std::uint64_t count, std::uint64_t milliseconds) {
    return *wait_in(memory, SYS_poll, {kPlace.raw(), count, milliseconds, 0, 0, 0});
  };
  put({7});
  CHECK(poll(1, 2500) == Wait{"poll", "poll", 7, "", 2'500'000, {}});
  CHECK(poll(1, 0xffffffff) == Wait{"poll", "poll", 7, "", {}, {}});
  CHECK(poll(0, 2500) == Wait{"sleep", "poll", {}, "", 2'500'000, {}});
  put({-1, 7, -5});
  CHECK(poll(3, 0xffffffff).fd == 7);
  put({3, 4, 5, 6, 7, 8});
  CHECK(poll(6, 0xffffffff) ==
        Wait{"poll", "poll", {}, "fd 3, fd 4, fd 5, fd 6 and 2 more", {}, {}});
  // More than are read.
  put(std::vector<int>(64, 9));
  CHECK(poll(100, 0xffffffff).target == "fd 9, fd 9, fd 9, fd 9 and 96 more");
  CHECK(poll(std::numeric_limits<std::uint64_t>::max(), 0).kind == "poll");
  // All that are read are left out, and one isn't read.
  put(std::vector<int>(64, -1));
  CHECK(poll(65, 0xffffffff) == Wait{"poll", "poll", {}, "", {}, {}});
  memory.unmap(kPlace);
  CHECK(poll(2, 0xffffffff) == Wait{"poll", "poll", {}, "", {}, {}});
}
#endif

TEST_CASE("the descriptors of a select are those of its three sets", "[waits]") {
  PagedMemory memory;
  memory.map(kPlace, 4096);
  memory.put(kPlace, std::uint64_t{1} << 5U);
  memory.put(kPlace + 128, std::uint64_t{1} << 5U);
  memory.put(kOther, std::array<std::uint64_t, 2>{2, 500'000'000});
  const std::uint64_t reads = kPlace.raw();
  const std::uint64_t writes = kPlace.raw() + 128;
  const std::uint64_t timeout = kOther.raw();
  CHECK(*wait_in(memory, SYS_pselect6, {6, reads, writes, 0, timeout, 0}) ==
        Wait{"select", "pselect6", 5, "", 2'500'000, {}});
  memory.put(kPlace + 128 + 8, std::uint64_t{1} << 6U);  // 70
  CHECK(wait_in(memory, SYS_pselect6, {71, reads, writes, 0, 0, 0})->target == "fd 5, fd 70");
  CHECK(wait_in(memory, SYS_pselect6, {70, reads, writes, 0, 0, 0})->fd == 5);
  CHECK(wait_in(memory, SYS_pselect6, {0, 0, 0, 0, timeout, 0})->kind == "sleep");
  CHECK(*wait_in(memory, SYS_pselect6, {71, kMissing.raw(), 0, 0, kMissing.raw(), 0}) ==
        Wait{"select", "pselect6", {}, "", {}, {}});
#ifdef SYS_select
  // select's time is in microseconds.
  memory.put(kOther, std::array<std::uint64_t, 2>{2, 500'000});
  CHECK(wait_in(memory, SYS_select, {6, reads, 0, 0, timeout, 0})->timeout_us == 2'500'000);
  CHECK(wait_in(memory, SYS_select, {~std::uint64_t{0}, reads, 0, 0, 0, 0})->kind == "select");
#endif
}

TEST_CASE("a sleep is told with its time", "[waits]") {
  PagedMemory memory;
  const auto sleep = [&](std::uint64_t seconds, std::uint64_t nanoseconds) {
    memory.put(kPlace, std::array<std::uint64_t, 2>{seconds, nanoseconds});
    return *wait_in(memory, SYS_clock_nanosleep, {1, 0, kPlace.raw(), 0, 0, 0});
  };
  CHECK(sleep(1, 500'000'000) == Wait{"sleep", "clock_nanosleep", {}, "", 1'500'000, {}});
  CHECK_FALSE(sleep(1, 1'000'000'000).timeout_us);
  CHECK_FALSE(sleep(~std::uint64_t{0}, 0).timeout_us);
  // A deadline says nothing later on.
  CHECK(*wait_in(memory, SYS_clock_nanosleep, {1, 1, kPlace.raw(), 0, 0, 0}) ==
        Wait{"sleep", "clock_nanosleep", {}, "", {}, {}});
}

TEST_CASE("a path is read to its end and no further", "[waits]") {
  PagedMemory memory;
  const auto open = [&](RemoteAddr at) {
    return wait_in(memory, SYS_openat, {0xffffff9c, at.raw(), 0, 0, 0, 0})->target;
  };
  put_text(memory, kPlace, "/run/a \x1b[0m b");
  CHECK(open(kPlace) == "/run/a \x1b[0m b");
#ifdef SYS_open
  CHECK(wait_in(memory, SYS_open, {kPlace.raw(), 0, 0, 0, 0, 0})->target == "/run/a \x1b[0m b");
#endif
  // Across pages, and up to one that is missing.
  put_text(memory, kPlace + 4090, "/run/long/name");
  CHECK(open(kPlace + 4090) == "/run/long/name");
  put_text(memory, kOther + 4090, "/last");
  CHECK(open(kOther + 4090) == "/last");
  put_text(memory, kPlace, std::string(4095, 'x'));
  CHECK(open(kPlace).size() == 4095);
  put_text(memory, kPlace, std::string(4096, 'x'));
  CHECK(open(kPlace).empty());
  CHECK(open(kMissing).empty());
  CHECK(open(RemoteAddr{~std::uint64_t{0}}).empty());
}

TEST_CASE("signals that are waited for are named", "[waits]") {
  PagedMemory memory;
  memory.put(kPlace, std::uint64_t{1} << 9U);
  CHECK(*wait_in(memory, SYS_rt_sigtimedwait, {kPlace.raw(), 0, 0, 8, 0, 0}) ==
        Wait{"signal", "rt_sigtimedwait", {}, "SIGUSR1", {}, {}});
  CHECK(wait_in(memory, SYS_rt_sigtimedwait, {kMissing.raw(), 0, 0, 8, 0, 0})->target.empty());
}

#ifdef SYS_poll
TEST_CASE("many waits are read in few calls", "[waits]") {
  PagedMemory memory;
  memory.map(kPlace, 4096);
  std::vector<Task> tasks(1000);
  std::vector<const Task*> pointers;
  for (Task& task : tasks) {
    task.system_call = SystemCall{SYS_poll, {kPlace.raw(), 2, 1000, 0, 0, 0}};
    pointers.push_back(&task);
  }
  CHECK(read_waits(pointers, memory, nullptr, Log{}).size() == 1000);
  CHECK(memory.calls == 1);
}
#endif

TEST_CASE("no argument of a system call can do harm", "[waits]") {
  PagedMemory memory;
  std::minstd_rand random(1);
  memory.map(kPlace, 3 * 4096);
  for (std::uint64_t at = 0; at < 3 * 4096; at += 4)
    memory.put(kPlace + at, static_cast<std::uint32_t>(random()));
  const std::array<std::uint64_t, 9> values{0,
                                            1,
                                            64,
                                            kPlace.raw(),
                                            kPlace.raw() + 4089,
                                            kPlace.raw() + 3 * 4096 - 1,
                                            kMissing.raw(),
                                            ~std::uint64_t{0},
                                            std::uint64_t{1} << 63U};
  for (std::int64_t number = 0; number < 460; ++number) {
    for (int i = 0; i < 40; ++i) {
      std::array<std::uint64_t, 6> arguments{};
      for (auto& argument : arguments)
        argument = values.at(random() % values.size());
      const auto wait = wait_in(memory, number, arguments);
      REQUIRE(wait);
      CHECK_FALSE(wait->system_call.empty());
      CHECK(wait->target.size() < 5000);
    }
  }
}
