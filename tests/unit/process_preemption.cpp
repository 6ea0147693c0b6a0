// Keeping a thread off its CPU: the proof that it did not run, and each way in which there is none.
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <string>
#include <string_view>
#include <thread>

#include "process/preemption.hpp"
#include "process/process.hpp"

using namespace pyscope;
using Clock = std::chrono::steady_clock;

namespace {

/// A file of /proc that the test makes up.
UniqueFd file_of(std::string_view text) {
  UniqueFd fd{::memfd_create("proc", MFD_CLOEXEC)};
  REQUIRE(fd);
  REQUIRE(::pwrite(fd.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  return fd;
}

/// /proc/PID/task/TID/stat with these two fields.
std::string stat_of(unsigned cpu, unsigned policy) {
  std::string text = "7 (a (b) c) R";
  for (int field = 4; field < 39; ++field)
    text += " 0";
  return text + " " + std::to_string(cpu) + " 0 " + std::to_string(policy) + " 0 0\n";
}

cpu_set_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  REQUIRE(::sched_getaffinity(0, sizeof set, &set) == 0);
  return set;
}

unsigned any_cpu() {
  const cpu_set_t set = affinity();
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) return cpu;
  }
  return 0;
}

/// A process that runs all the time, and ends with the test.
class Busy {
 public:
  explicit Busy(const std::function<void()>& prepare = [] {}) {
    void* shared = ::mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    counters_ = new (shared) Counters;
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      prepare();
      while (true)
        counters_->count.fetch_add(1, std::memory_order_relaxed);
    }
    while (counters_->count.load() == 0 && ::waitpid(pid_, nullptr, WNOHANG) == 0)
      std::this_thread::yield();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::munmap(counters_, sizeof(Counters));
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool runs() const { return counters_->count.load() != 0; }
  /// Whether it counted on during some hundred microseconds.
  [[nodiscard]] bool counts() const {
    const auto begin = Clock::now();
    const std::uint64_t before = counters_->count.load(std::memory_order_relaxed);
    while (Clock::now() < begin + std::chrono::microseconds(200)) {
    }
    return counters_->count.load(std::memory_order_relaxed) != before;
  }

 private:
  struct Counters {
    std::atomic<std::uint64_t> count = 0;
  };
  Counters* counters_ = nullptr;
  pid_t pid_ = 0;
};

}  // namespace

TEST_CASE("a thread's CPU and policy are read behind whatever its name is", "[process]") {
  const auto facts = parse_scheduling(stat_of(5, SCHED_BATCH));
  REQUIRE(facts);
  CHECK(facts->cpu == 5);
  CHECK(facts->policy == SCHED_BATCH);
  CHECK_FALSE(parse_scheduling("7 (x) R 1 2 3"));
  CHECK_FALSE(parse_scheduling(""));
  CHECK_FALSE(parse_scheduling("7 (x"));
}

TEST_CASE("a thread that is said to have stood still did not run", "[process]") {
  const Busy busy;
  const auto process = Process::open(busy.pid(), Log());
  REQUIRE(process);
  auto preemption = ThreadPreemption::of(*process, busy.pid());
  REQUIRE(preemption);
  const cpu_set_t before = affinity();
  int proven = 0;
  int wrong = 0;
  bool ran = false;
  // On a machine that is busy enough, some tries are in vain.
  for (int i = 0; i < 5000 && proven < 200; ++i) {
    bool counted = false;
    const auto stood_still = preemption->during([&] { counted = busy.counts(); });
    REQUIRE(stood_still);
    if (!*stood_still) continue;
    ++proven;
    wrong += counted ? 1 : 0;
  }
  CHECK(proven == 200);
  CHECK(wrong == 0);
  CHECK(preemption->microseconds() > 0);
  const cpu_set_t after = affinity();
  CHECK(CPU_EQUAL(&before, &after));
  // Without the proof it is seen to run, wherever there are two CPUs.
  for (int i = 0; i < 5000 && !ran; ++i)
    ran = busy.counts();
  CHECK((ran || CPU_COUNT(&before) == 1));
}

TEST_CASE("a thread that was given a CPU meanwhile has not stood still", "[process]") {
  UniqueFd schedstat = file_of("5 6 7\n");
  const int fd = schedstat.get();
  auto preemption =
      ThreadPreemption::of(file_of(stat_of(any_cpu(), SCHED_OTHER)), std::move(schedstat));
  REQUIRE(preemption);
  CHECK(preemption->during([] {}) == true);
  CHECK(preemption->during([&] { REQUIRE(::pwrite(fd, "5 6 8\n", 6, 0) == 6); }) == false);
  CHECK(preemption->during([] {}) == true);
}

TEST_CASE("where it can't be known whether a thread ran, nothing is pinned", "[process]") {
  const unsigned cpu = any_cpu();
  const auto refusal = [&](UniqueFd stat, UniqueFd schedstat) {
    const auto made = ThreadPreemption::of(std::move(stat), std::move(schedstat));
    REQUIRE_FALSE(made);
    return made.error().message;
  };
  const auto good_stat = [&] { return file_of(stat_of(cpu, SCHED_OTHER)); };
  using Catch::Contains;
  CHECK_THAT(refusal(file_of(stat_of(cpu, SCHED_FIFO)), file_of("1 1 1\n")),
             Contains("SCHED_FIFO"));
  CHECK_THAT(refusal(file_of(stat_of(cpu, SCHED_RR)), file_of("1 1 1\n")), Contains("SCHED_RR"));
  constexpr unsigned kDeadline = 6;
  CHECK_THAT(refusal(file_of(stat_of(cpu, kDeadline)), file_of("1 1 1\n")), Contains("policy (6)"));
  CHECK_THAT(refusal(good_stat(), file_of("0 0 0\n")), Contains("doesn't count"));
  CHECK_THAT(refusal(good_stat(), UniqueFd{}), Contains("doesn't count"));
  CHECK_THAT(refusal(good_stat(), file_of("nothing")), Contains("doesn't count"));
  CHECK_THAT(refusal(file_of("7 (x) R 1"), file_of("1 1 1\n")), Contains("CPU can't be read"));
  std::string elsewhere;
  std::thread([&] {
    const auto made = ThreadPreemption::of(good_stat(), file_of("1 1 1\n"));
    elsewhere = made ? "made" : made.error().message;
  }).join();
  CHECK_THAT(elsewhere, Contains("only the first thread"));
}

TEST_CASE("a CPU that pyscope may not use is said to be one", "[process]") {
  for (const unsigned cpu : {CPU_SETSIZE - 1U, 1U << 30U}) {
    auto preemption = ThreadPreemption::of(file_of(stat_of(cpu, SCHED_OTHER)), file_of("1 1 1\n"));
    REQUIRE(preemption);
    bool read = false;
    const auto stood_still = preemption->during([&] { read = true; });
    REQUIRE_FALSE(stood_still);
    CHECK_THAT(stood_still.error().message, Catch::Contains("which pyscope may not use"));
    CHECK_FALSE(read);
  }
}

TEST_CASE("whoever isn't given the CPU is freed by the watchdog", "[process]") {
  const unsigned cpu = any_cpu();
  const cpu_set_t before = affinity();
  if (CPU_COUNT(&before) == 1) {
    WARN("not tested: it takes a second CPU to be freed to");
    return;
  }
  // By these files nothing ever runs, so only the watchdog can say no.
  auto preemption = ThreadPreemption::of(file_of(stat_of(cpu, SCHED_OTHER)), file_of("1 1 1\n"));
  REQUIRE(preemption);
  CHECK(preemption->during([] {}) == true);
  const Busy hog([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    const sched_param first{.sched_priority = 1};
    if (::sched_setaffinity(0, sizeof one, &one) != 0 ||
        ::sched_setscheduler(0, SCHED_FIFO, &first) != 0) {
      ::_exit(1);
    }
  });
  if (!hog.runs()) {
    WARN("not tested: no real-time policy can be had here");
    return;
  }
  // The kernel leaves the others a twentieth of each second: not every try meets the hog.
  bool freed = false;
  const auto give_up = Clock::now() + std::chrono::seconds(30);
  while (!freed && Clock::now() < give_up) {
    const auto stood_still = preemption->during([] {});
    REQUIRE(stood_still);
    freed = !*stood_still;
  }
  CHECK(freed);
  const cpu_set_t after = affinity();
  CHECK(CPU_EQUAL(&before, &after));
}
