#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <string>
#include <string_view>
#include <vector>

#include "process/database_locks.hpp"
#include "process/descriptors.hpp"
#include "process/file_locks.hpp"
#include "process/system_calls.hpp"

using namespace pyscope;

TEST_CASE("system calls have their names, and unknown ones their number", "[process]") {
  CHECK(system_call_name(SYS_recvfrom) == "recvfrom");
  CHECK(system_call_name(SYS_read) == "read");
  CHECK(system_call_name(SYS_wait4) == "wait4");
  CHECK(system_call_name(SYS_flock) == "flock");
  CHECK(system_call_name(SYS_futex) == "futex");
  CHECK(system_call_name(SYS_clock_nanosleep) == "clock_nanosleep");
  CHECK(system_call_name(SYS_epoll_pwait) == "epoll_pwait");
  CHECK(system_call_name(SYS_ppoll) == "ppoll");
  CHECK(system_call_name(9999) == "syscall 9999");
  CHECK(system_call_name(-2) == "syscall -2");
  CHECK(find_blocking_call(SYS_recvfrom)->subject == Subject::Descriptor);
  CHECK(find_blocking_call(SYS_futex)->subject == Subject::None);
  CHECK(find_blocking_call(9999) == nullptr);
}

TEST_CASE("no system call is listed twice", "[process]") {
  int known = 0;
  for (std::int64_t number = 0; number < 1000; ++number) {
    const BlockingCall* call = find_blocking_call(number);
    if (call == nullptr) continue;
    ++known;
    CHECK(call->number == number);
    CHECK_FALSE(call->name.empty());
    CHECK_FALSE(call->kind.empty());
    CHECK(call->timeout_argument < 6);
  }
  CHECK(known > 100);
}

TEST_CASE("an epoll instance's descriptors are read from fdinfo", "[process]") {
  const std::string_view fdinfo =
      "pos:\t0\nflags:\t02\nmnt_id:\t16\nino:\t1057\n"
      "tfd:        5 events:       19 data:                5  pos:0 ino:bc1d sdev:9\n"
      "tfd:       12 events:       19 data: ffffffffffffffff  pos:0 ino:bc1e sdev:9\n"
      "tfd: 1048575 events:       1d data:                0";
  CHECK(parse_epoll_targets(fdinfo) == std::vector<int>{5, 12, 1048575});
  CHECK(parse_epoll_targets("").empty());
  CHECK(parse_epoll_targets("tfd:\ntfd: x\ntfd: -1 events: 1\ntfd: 99999999999 \ntfd").empty());
}

TEST_CASE("a value of fdinfo is found by its whole key", "[process]") {
  const std::string_view fdinfo = "NSpid:\t7\nPid:\t4711\nEmpty:\nsigmask:\t0000000000004002";
  CHECK(fdinfo_value(fdinfo, "Pid") == "4711");
  CHECK(fdinfo_value(fdinfo, "sigmask") == "0000000000004002");
  CHECK(fdinfo_value(fdinfo, "Empty").empty());
  CHECK(fdinfo_value(fdinfo, "Pi").empty());
}

TEST_CASE("a set of signals is named", "[process]") {
  const auto bit = [](int signal) { return std::uint64_t{1} << static_cast<unsigned>(signal - 1); };
  CHECK(name_signals(0) == "no signal");
  CHECK(name_signals(bit(SIGUSR1)) == "SIGUSR1");
  CHECK(name_signals(bit(SIGINT) | bit(SIGTERM)) == "SIGINT, SIGTERM");
  CHECK(name_signals(bit(40)) == "signal 40");
  CHECK(name_signals(~std::uint64_t{0}) == "any signal");
  CHECK(name_signals(~bit(SIGKILL)) == "any signal but SIGKILL");
  CHECK(name_signals(0xffffffff) == "32 signals");
}

TEST_CASE("of many descriptors some are named and the others counted", "[process]") {
  CHECK(list_descriptors({"fd 3 (pipe)"}, 1) == "fd 3 (pipe)");
  CHECK(list_descriptors({"fd 3", "fd 4"}, 2) == "fd 3, fd 4");
  CHECK(list_descriptors({"fd 3", "fd 4"}, 14) == "fd 3, fd 4 and 12 more");
}

TEST_CASE("the holder of a lock is found by who waits for it", "[process]") {
  const std::string_view locks =
      "1: FLOCK  ADVISORY  WRITE 708 fd:01:393243 0 EOF\n"
      "1: -> FLOCK  ADVISORY  WRITE 4711 fd:01:393243 0 EOF\n"
      "2: POSIX  ADVISORY  WRITE 709 fd:01:393244 0 EOF\n"
      "2: -> POSIX  ADVISORY  WRITE 4712 fd:01:393244 0 99\n"
      "2:  -> POSIX  ADVISORY  WRITE 4711 fd:01:393244 0 9\n"
      "3: OFDLCK ADVISORY  WRITE -1 fd:01:393245 0 EOF\n"
      "3: -> POSIX  ADVISORY  WRITE 4711 fd:01:393245 0 9\n"
      "4: LEASE  ACTIVE    READ 700 fd:01:393246 0 EOF\n";
  CHECK(find_lock_holder(locks, 4711, 393243) == 708);
  CHECK(find_lock_holder(locks, 4711, 393244) == 709);
  CHECK(find_lock_holder(locks, 4712, 393244) == 709);
  CHECK_FALSE(find_lock_holder(locks, 4711, 393245));  // nobody in particular
  CHECK_FALSE(find_lock_holder(locks, 4712, 393243));
  CHECK_FALSE(find_lock_holder(locks, 708, 393243));
  CHECK_FALSE(find_lock_holder("", 1, 1));
  CHECK_FALSE(find_lock_holder("->\n1: -> FLOCK\n1: -> FLOCK A W 1 1\n: : : :\n\n", 1, 1));
  // The same inode number on two file systems.
  CHECK_FALSE(
      find_lock_holder("1: FLOCK ADVISORY WRITE 5 fd:01:9 0 EOF\n"
                       "1: -> FLOCK ADVISORY WRITE 7 fd:01:9 0 EOF\n"
                       "2: FLOCK ADVISORY WRITE 6 fd:02:9 0 EOF\n"
                       "2: -> FLOCK ADVISORY WRITE 7 fd:02:9 0 EOF\n",
                       7, 9));
}

TEST_CASE("who keeps SQLite's busy handler waiting is told by ranges of locks", "[process]") {
  using Locks = std::vector<DatabaseLock>;
  const auto of = [](pid_t waiter, const std::string& text) {
    return find_database_locks(text, waiter);
  };
  // 708 writes: RESERVED, and SHARED by 709, which only reads.
  const std::string writer =
      "1: POSIX  ADVISORY  WRITE 708 fd:01:5 1073741825 1073741825\n"
      "2: POSIX  ADVISORY  READ 709 fd:01:5 1073741826 1073742335\n";
  CHECK(of(4711, writer) == Locks{{5, 708, false}});
  // The writer itself waits for those who read.
  CHECK(of(708, writer) == Locks{{5, 709, false}});
  // A write-ahead log: 708 writes; the others read, which keeps nobody.
  CHECK(of(4711,
           "1: POSIX  ADVISORY  WRITE 708 fd:01:6 120 120\n"
           "2: POSIX  ADVISORY  READ 709 fd:01:6 123 123\n"
           "3: POSIX  ADVISORY  READ 709 fd:01:6 128 128\n") == Locks{{6, 708, true}});
  CHECK(of(4711,
           "1: FLOCK  ADVISORY  WRITE 708 fd:01:5 0 EOF\n"
           "2: POSIX  ADVISORY  WRITE 708 fd:01:5 0 EOF\n"
           "3: OFDLCK ADVISORY  WRITE -1 fd:01:5 1073741825 1073741825\n"
           "4: POSIX  ADVISORY  WRITE 4711 fd:01:5 1073741825 1073741825\n: : :\n\n")
            .empty());
}
