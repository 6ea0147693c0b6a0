// Kernels as old as Linux 3.10: every system call that came later is refused as such a kernel
// refuses it. (What a file of /proc lacked then can't be taken away here.)

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/confinement.hpp"
#include "support/oracle.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// From now on the calling process has the system calls of Linux 3.10 alone.
void go_back_to_linux_3_10() {
  // x86-64 numbers them in the order of their coming; this one came with 3.8, the next with 3.14.
  constexpr unsigned kLast = SYS_finit_module;
  std::array<sock_filter, 4> filter{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kLast, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  if (!enter_filter(filter) || ::syscall(SYS_getrandom, nullptr, 0, 0) != -1 || errno != ENOSYS) {
    ::_exit(99);
  }
}

const PyscopeOptions kOldKernel{.environment = {}, .before_exec = go_back_to_linux_3_10};

json without_measurements(json dump) {
  dump.erase("captured_at");
  dump.erase("capture");
  for (json& thread : dump.at("threads"))
    thread.erase("cpu_time_us");
  return dump;
}

}  // namespace

TEST_CASE("a dump on an old kernel has all that one on a new kernel has", "[live]") {
  const auto arguments =
      GENERATE(values<std::vector<std::string>>({{}, {"--locals"}, {"--pause=all"}}));
  CAPTURE(arguments);
  Target target(any_interpreter(), "stacks.py", {"plain_calls"});
  REQUIRE(target.read().at("ready") == true);
  const json truth = check_against_truth(target);
  REQUIRE(all_sleep(target.pid()));
  // What pipes lead to is looked up for some milliseconds only, which a busy machine may take away
  // from either of the two.
  Dump now;
  Dump then;
  const bool same = eventually([&] {
    now = dump(target.pid(), arguments);
    then = dump(target.pid(), arguments, kOldKernel);
    return without_measurements(then.json) == without_measurements(now.json);
  });
  INFO(then.json << now.json << then.err);
  CHECK(same);
  CHECK(then.status == 0);
  CHECK(then.json.at("threads").size() == truth.at("threads").size());
}

TEST_CASE("the other verbs work on an old kernel", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"plain_calls"});
  REQUIRE(target.read().at("ready") == true);
  const std::string pid = std::to_string(target.pid());
  const Outcome why = run_pyscope({"why", pid, "--duration", "50ms"}, kOldKernel);
  INFO(why.err);
  CHECK(why.status == 0);
  const Outcome value = run_pyscope({"inspect", pid, "sys.byteorder"}, kOldKernel);
  INFO(value.err);
  CHECK(value.status == 0);
  CHECK(value.out == "'little'\n");
  const Outcome list = run_pyscope({"ps", "--json"}, kOldKernel);
  INFO(list.err);
  CHECK(list.status == 0);
  bool found = false;
  for (const json& process : parse_lines(list.out))
    found = found || (process.at("pid") == target.pid() && process.at("readable") == true);
  CHECK(found);
}

TEST_CASE("source lines are found through symbolic links on an old kernel", "[live]") {
  Workspace workspace(any_interpreter());
  workspace.write("releases/7/app.py",
                  "import oracle, stacks\n"
                  "oracle.serve_in_background()\n"
                  "stacks.block()\n");
  std::filesystem::create_symlink("releases/8/../7", workspace.outside("current"));
  std::filesystem::create_directory(workspace.outside("releases/8"));
  std::filesystem::create_symlink(workspace.inside("current/app.py"), workspace.outside("run.py"));
  const std::string path = GENERATE(as<std::string>(), "current/app.py", "run.py");
  CAPTURE(path);
  const std::string inside = workspace.inside(path);
  Target target(std::move(workspace), inside, {}, {.environment = {"PYTHONPATH=.."}});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const Dump then = dump(target.pid(), {}, kOldKernel);
  INFO(then.err);
  REQUIRE(then.status == 0);
  int seen = 0;
  for (const json& frame : python_frames(thread_of(then.json, target.pid()))) {
    if (frame.at("file") != inside) continue;
    CHECK(frame.value("source", "none") == "stacks.block()");
    ++seen;
  }
  CHECK(seen == 1);
}
