#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "process/facts.hpp"

using namespace pyscope;

namespace {

/// A line of /proc/PID/stat for a process of this name.
std::string stat_of(const std::string& name) {
  return "4711 (" + name +
         ") S 4242 4711 4711 34816 4711 1077936128 7132 0 12 0 25 17 3 4 20 0 5 0 918273 "
         "243789824 8123 18446744073709551615 4194304 7012341 140723401 0 0 0 0 16781312 2 0 0 0 "
         "17 3 0 0 0 0 0\n";
}

}  // namespace

TEST_CASE("a command line has an end, whatever the process makes of it", "[process]") {
  using namespace std::string_literals;
  CHECK(parse_command_line("python\0-c\0\0x"s) ==
        std::vector<std::string>{"python", "-c", "", "x"});
  CHECK(parse_command_line("").empty());
  const auto words = parse_command_line(std::string(kMostCommandBytes, '\0'));
  CHECK(words.size() == kMostCommandWords + 1);
  CHECK(words.back() == "…");
  const auto one = parse_command_line(std::string(kMostCommandBytes, 'x'));
  CHECK(one.size() == 2);
  CHECK(one.back() == "…");
}

TEST_CASE("the fields of stat are those of proc(5)", "[process]") {
  const auto stat = parse_stat(stat_of("python3"));
  REQUIRE(stat);
  CHECK(stat->comm == "python3");
  CHECK(stat->state == 'S');
  CHECK(stat->parent == 4242);
  CHECK(stat->flags == 1077936128);
  CHECK(stat->cpu_ticks == 25 + 17);
  CHECK(stat->start_ticks == 918273);
}

TEST_CASE("the name in stat may hold anything", "[process]") {
  for (const std::string name :
       {"a b", ") R 1 1", "((", "))", "", "\xff\n", "x) Z 1 1 (y", "1 2 3 4 5 6 7 8"}) {
    const auto stat = parse_stat(stat_of(name));
    REQUIRE(stat);
    CHECK(stat->comm == name);
    CHECK(stat->state == 'S');
    CHECK(stat->start_ticks == 918273);
  }
}

TEST_CASE("a stat that is cut before its last wanted field is none", "[process]") {
  const std::string text = stat_of("python3");
  const std::size_t needed = text.find(" 918273");
  for (std::size_t size = 0; size <= needed; ++size)
    CHECK_FALSE(parse_stat(text.substr(0, size)));
  CHECK(parse_stat(text.substr(0, needed + 7)));
}

TEST_CASE("a stat without numbers or parentheses is none", "[process]") {
  std::string text = stat_of("python3");
  CHECK_FALSE(parse_stat(text.replace(text.find("4242"), 4, "none")));
  CHECK_FALSE(parse_stat("4711 python3 S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21"));
  CHECK_FALSE(parse_stat(")("));
}

TEST_CASE("the time without a processor is read from schedstat") {
  const auto stats = parse_schedstat("486973 2001999 7\n");
  REQUIRE(stats);
  CHECK(stats->run_delay_us == 2001);
  CHECK(stats->times_scheduled == 7);
  CHECK_FALSE(parse_schedstat("486973"));
  CHECK_FALSE(parse_schedstat("486973 2001999"));
  CHECK_FALSE(parse_schedstat("486973 many 2"));
  CHECK_FALSE(parse_schedstat("1 99999999999999999999 2"));
}

TEST_CASE("a blocked thread's system call has a number and six arguments", "[process]") {
  const auto call = parse_system_call(
      "202 0x7f8ae4000b60 0x189 0x0 0x0 0x0 0xffffffffffffffff 0x7ffe5 0x7f8ae5\n");
  REQUIRE(call);
  CHECK(call->number == 202);
  CHECK(call->arguments[0] == 0x7f8ae4000b60);
  CHECK(call->arguments[1] == 0x189);
  CHECK(call->arguments[5] == 0xffffffffffffffff);
}

TEST_CASE("a thread in the kernel outside of a system call has the number -1", "[process]") {
  const auto call = parse_system_call("-1 0x7ffc1000 0x7f8ae5\n");
  REQUIRE(call);
  CHECK(call->number == -1);
  CHECK(call->arguments[0] == 0);
}

TEST_CASE("a running thread and garbage have no system call", "[process]") {
  for (const std::string_view text :
       {"running\n", "", "\n", "202", "202 0x1 0x2 0x3 0x4 0x5\n", "202 0x1 0x2 0x3 0x4 0x5 six",
        "202 0x 0x2 0x3 0x4 0x5 0x6", "0xca 0x1 0x2 0x3 0x4 0x5 0x6",
        "99999999999999999999 0x1 0x2 0x3 0x4 0x5 0x6"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_system_call(text));
  }
}

TEST_CASE("words of status are found by their whole key", "[process]") {
  const std::string_view status =
      "Name:\tUid: 1\n"
      "UidX:\t7\n"
      "Uid:\t1000\t1001  1002 1003\n"
      "NSpid:\t4711\t7\n"
      "Empty:\n"
      "CapEff:\t00000000a80425fb";
  const auto words = [&](std::string_view key) { return status_words(status, key); };
  CHECK(words("Uid") == std::vector<std::string_view>{"1000", "1001", "1002", "1003"});
  CHECK(words("NSpid") == std::vector<std::string_view>{"4711", "7"});
  CHECK(words("CapEff") == std::vector<std::string_view>{"00000000a80425fb"});
  CHECK(words("Empty").empty());
  CHECK(words("Missing").empty());
  CHECK(status_words("", "Uid").empty());
}

TEST_CASE("switches of both kinds are counted together", "[process]") {
  CHECK(count_switches(
            "Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t30\n") == 42U);
  for (const std::string_view text :
       {"", "voluntary_ctxt_switches:\t12\n",
        "voluntary_ctxt_switches:\nnonvoluntary_ctxt_switches:\t1\n",
        "voluntary_ctxt_switches:\t-1\nnonvoluntary_ctxt_switches:\t1\n"}) {
    CAPTURE(text);
    CHECK_FALSE(count_switches(text));
  }
}

TEST_CASE("a call that goes on after a stop is told by where it sleeps", "[process]") {
#ifdef SYS_poll  // aarch64 has ppoll alone, which is never restarted this way
  CHECK(restarted_call("poll_schedule_timeout.constprop.0") == SYS_poll);
  CHECK(restarted_call("do_sys_poll") == SYS_poll);
#endif
  CHECK(restarted_call("hrtimer_nanosleep") == SYS_clock_nanosleep);
  CHECK(restarted_call("futex_do_wait") == SYS_futex);
  CHECK(restarted_call("futex_wait_queue_me") == SYS_futex);
  CHECK_FALSE(restarted_call("0"));
  CHECK_FALSE(restarted_call(""));
  CHECK_FALSE(restarted_call("do_signal_stop"));
}
