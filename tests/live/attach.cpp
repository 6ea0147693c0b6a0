// Ways in which an interpreter lies in memory and on disk, and ways in which the kernel lets it be
// read.

#include <elf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/confinement.hpp"
#include "support/oracle.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// A copy of the interpreter's executable that finds its standard library.
TargetOptions copied(const std::string& executable) {
  return {.executable = executable, .environment = {"PYTHONHOME=/usr"}};
}

void strip_section_headers(const std::string& path) {
  std::string file = read_file(path);
  REQUIRE(file.size() > sizeof(Elf64_Ehdr));
  const auto zero = [&](std::size_t offset, std::size_t size) {
    file.replace(offset, size, size, '\0');
  };
  zero(offsetof(Elf64_Ehdr, e_shoff), sizeof(Elf64_Off));
  zero(offsetof(Elf64_Ehdr, e_shnum), sizeof(Elf64_Half));
  zero(offsetof(Elf64_Ehdr, e_shstrndx), sizeof(Elf64_Half));
  write_file(path, file);
}

/// The only child of a process.
pid_t child_of(pid_t parent) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::string status;
    try {
      status = read_file(entry.path() / "status");
    } catch (const std::runtime_error&) {
      continue;  // ended meanwhile
    }
    if (status.find(fmt::format("\nPPid:\t{}\n", parent)) != std::string::npos) {
      return std::stoi(name);
    }
  }
  return 0;
}

}  // namespace

TEST_CASE("an interpreter without section headers is found by its cookie", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  const std::string executable = workspace.copy_executable("stripped");
  strip_section_headers(workspace.outside("stripped"));
  Target target(std::move(workspace), "stacks.py", {"plain_calls"}, copied(executable));
  REQUIRE(target.read().at("ready") == true);
  check_against_truth(target);
  const Outcome verbose = run_pyscope({"dump", std::to_string(target.pid()), "-v"});
  CHECK(verbose.err.find("no section headers") != std::string::npos);
}

TEST_CASE("an interpreter that was deleted or replaced on disk is read as it is in memory",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string change =
      GENERATE(as<std::string>(), "deleted", "replaced by nonsense", "replaced by a stripped copy");
  CAPTURE(interpreter, change);
  Workspace workspace(interpreter);
  const std::string executable = workspace.copy_executable("python");
  Target target(std::move(workspace), "stacks.py", {"plain_calls"}, copied(executable));
  REQUIRE(target.read().at("ready") == true);
  const std::string path = target.workspace().outside("python");
  if (change == "deleted") {
    std::filesystem::remove(path);
  } else {
    const std::string other = target.workspace().outside("other");
    if (change == "replaced by nonsense") {
      write_file(other, "#!/bin/sh\nexit 1\n");
    } else {
      (void)target.workspace().copy_executable("other");
      strip_section_headers(other);
    }
    std::filesystem::rename(other, path);
  }
  check_against_truth(target);
}

TEST_CASE("an interpreter that was started by the dynamic linker is found", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "stacks.py", {"plain_calls"},
                {.launcher = {"/lib64/ld-linux-x86-64.so.2"}, .environment = {"PYTHONHOME=/usr"}});
  REQUIRE(target.read().at("ready") == true);
  const json dump = check_against_truth(target);
  CHECK(dump.at("executable").get<std::string>().find("python") == std::string::npos);
}

TEST_CASE("a second mapping of the interpreter does not mislead", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  workspace.write(
      "twice.py",
      "import mmap, sys, oracle, stacks\n"
      "file = open(sys.argv[1], 'rb')\n"
      "private = {'flags': mmap.MAP_PRIVATE}\n"
      "one = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC, **private)\n"
      "two = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_WRITE, **private)\n"
      "oracle.serve_in_background()\n"
      "stacks.block()\n");
  Target target(std::move(workspace), "twice.py", {interpreter.executable});
  REQUIRE(target.read().at("ready") == true);
  check_against_truth(target);
}

TEST_CASE("another pid and mount namespace is seen from outside", "[live]") {
  if (::geteuid() != 0) {
    WARN("not tested: it takes root to make a namespace of mounts");
    return;
  }
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  workspace.write("real/inner.py",
                  "import sys\nsys.path.insert(0, sys.argv[1])\nimport os, threading, time\n"
                  "import json\n"
                  "print(json.dumps([os.getpid(), threading.get_native_id()]), flush=True)\n"
                  "input()  # only in the namespace\n");
  workspace.write("mapped/empty", "");
  const std::string real = workspace.inside("real");
  const std::string mapped = workspace.inside("mapped");
  TargetOptions options;
  options.before_exec = [&] {
    if (::unshare(CLONE_NEWNS | CLONE_NEWPID) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      // The root of a chroot is no mount point: what is mounted below it must not leave the
      // namespace, which needs no more than the namespace's own copy of the parent mount to be
      // private.
      if (errno != EINVAL) ::_exit(98);
    }
    const pid_t child = ::fork();
    if (child < 0) ::_exit(97);
    if (child > 0) {
      // Whoever started this waits for the exec, which closes what is left of its descriptors.
      ::close_range(3, ~0U, 0);
      int status = 0;
      ::waitpid(child, &status, 0);
      ::_exit(0);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::mount(real.c_str(), mapped.c_str(), nullptr, MS_BIND, nullptr) != 0) ::_exit(96);
  };
  Target target(std::move(workspace), mapped + "/inner.py", {real}, options);
  const json inside = target.read();
  CHECK(inside.at(0) == 1);
  const pid_t outside = child_of(target.pid());
  REQUIRE(outside > 0);
  REQUIRE(all_sleep(outside));

  const Dump dumped = dump(outside);
  CHECK(dumped.status == 0);
  CHECK(dumped.json.at("pid") == outside);
  CHECK(dumped.json.at("namespace_pid") == 1);
  const json& thread = thread_of(dumped.json, outside);
  CHECK(thread.at("namespace_tid") == inside.at(1));
  CHECK(thread.at("main") == true);
  const json frame = python_frames(thread).front();
  CHECK(frame.at("file") == mapped + "/inner.py");
  CHECK(frame.value("source", "none") == "input()  # only in the namespace");
}

TEST_CASE("memory is read through proc where process_vm_readv is refused", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const int error = GENERATE(EPERM, ENOSYS);
  CAPTURE(interpreter, error);
  Target target(interpreter, "stacks.py", {"generators"});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  PyscopeOptions refused;
  refused.before_exec = [error] { refuse_system_call(SYS_process_vm_readv, error); };
  const Dump other = dump(target.pid(), {"-v"}, refused);
  const Dump usual = dump(target.pid());
  CHECK(other.status == 0);
  CHECK(other.err.find("/proc/PID/mem") != std::string::npos);
  CHECK(other.json.at("threads") == usual.json.at("threads"));
}

TEST_CASE("source lines don't depend on whether files are renamed meanwhile", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"plain_calls"});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const json usual = dump(target.pid()).json;
  // The kernel's answer while something is renamed and the path has a "..".
  PyscopeOptions options;
  options.before_exec = [] { refuse_system_call(SYS_openat2, EAGAIN); };
  const Dump other = dump(target.pid(), {}, options);
  CHECK(other.status == 0);
  CHECK(other.json.at("threads") == usual.at("threads"));
  CHECK(python_frames(thread_of(other.json, target.pid())).front().contains("source"));
}

TEST_CASE("a machine that is out of threads has all threads and processes dumped", "[live]") {
  // So many that several threads read what the kernel says of them, if there are processors.
  constexpr int kThreads = 300;
  Workspace workspace(any_interpreter());
  workspace.write("many.py",
                  fmt::format("import threading\n"
                              "lock = threading.Lock(); lock.acquire()\n"
                              "for _ in range({}):\n"
                              "    threading.Thread(target=lock.acquire, daemon=True).start()\n"
                              "print('true', flush=True)\n"
                              "input()\n",
                              kThreads - 1));
  Target target(std::move(workspace), "many.py");
  REQUIRE(target.read() == true);
  REQUIRE(all_sleep(target.pid()));
  PyscopeOptions options;
  // The check for leaks is a thread of the sanitizer's own, and ends the program where there is
  // none.
  if (pyscope_is_sanitized()) options.environment = {"ASAN_OPTIONS=detect_leaks=0"};
  options.before_exec = [] {
    refuse_system_call(SYS_clone, EAGAIN);
    refuse_system_call(SYS_clone3, EAGAIN);
  };
  const Dump one = dump(target.pid(), {}, options);
  CHECK(one.status == 0);
  CHECK(one.err.empty());
  CHECK(one.json.at("threads").size() == kThreads);

  const std::string pid = std::to_string(target.pid());
  const Outcome two = run_pyscope({"dump", pid, pid, "--jobs", "4", "--json"}, options);
  CHECK(two.status == 0);
  CHECK(two.err.empty());
  const std::vector<json> documents = parse_lines(two.out);
  REQUIRE(documents.size() == 2);
  for (const json& document : documents)
    CHECK(document.at("threads").size() == kThreads);
}

TEST_CASE("kernels and filters that lack newer system calls are lived with", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"plain_calls"});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const json usual = dump(target.pid()).json;
  const auto number = GENERATE(as<unsigned>(), SYS_pidfd_open, SYS_openat2);
  const int error = GENERATE(ENOSYS, EPERM);
  CAPTURE(number, error);
  PyscopeOptions options;
  options.before_exec = [=] { refuse_system_call(number, error); };
  const Dump other = dump(target.pid(), {}, options);
  CHECK(other.status == 0);
  CHECK(other.json.at("threads") == usual.at("threads"));
}
