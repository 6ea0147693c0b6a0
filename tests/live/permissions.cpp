// Each rule of the kernel's that can refuse: what pyscope says of it, and what to do next.

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/confinement.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

constexpr int kNoSuchProcess = 3;
constexpr int kNotPermitted = 4;
constexpr int kNotPossible = 98;  // of a child that can't make the situation here
constexpr uid_t kNobody = 65534;

/// A copy of pyscope that any user may run, and a program beside it that is called sudo.
class PublicPyscope {
 public:
  PublicPyscope() : folder_((fs::temp_directory_path() / "pyscope-XXXXXX").string()) {
    if (::mkdtemp(folder_.data()) == nullptr) throw_errno("mkdtemp");
    fs::permissions(folder_, fs::perms(0755));
    fs::copy_file(pyscope_binary(), path());
    fs::permissions(path(), fs::perms(0755));
    write_file(folder_ + "/sudo", "#!/bin/sh\nexit 1\n");
    fs::permissions(folder_ + "/sudo", fs::perms(0755));
  }
  PublicPyscope(const PublicPyscope&) = delete;
  PublicPyscope& operator=(const PublicPyscope&) = delete;
  ~PublicPyscope() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  [[nodiscard]] std::string path() const { return folder_ + "/pyscope"; }

  [[nodiscard]] Outcome run(const std::vector<std::string>& arguments,
                            const std::function<void()>& before_exec,
                            const std::vector<std::string>& environment = {}) const {
    Program program =
        pyscope_program(arguments, {.environment = environment, .before_exec = before_exec});
    program.command[0] = path();
    // The first counts.
    program.environment.insert(program.environment.begin(), "PATH=" + folder_);
    std::erase(program.environment, "PATH=/usr/bin:/bin");
    return pyscope::test::run(program);
  }

  /// Of what is typed next: through sudo, where that gives rights here.
  void check_command(const std::string& hint, const std::string& command) const {
    CAPTURE(hint);
    const std::string status = read_file("/proc/self/status");
    const auto word = [&](const std::string& key) {
      const std::size_t at = status.find("\n" + key + ":\t");
      return at == std::string::npos ? std::string("0") : status.substr(at + key.size() + 3, 16);
    };
    constexpr int kHexadecimal = 16;
    const auto bounding = std::stoull(word("CapBnd"), nullptr, kHexadecimal);
    const bool sudo_works =
        ((bounding >> CAP_SYS_PTRACE) & 1U) != 0 && word("NoNewPrivs")[0] == '0';
    if (sudo_works) {
      CHECK(hint.starts_with("sudo " + path() + " " + command));
    } else {
      WARN("sudo gives no rights here, and is not what is said");
      CHECK_FALSE(hint.starts_with("sudo"));
    }
  }

 private:
  std::string folder_;
};

void become_nobody() {
  if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(99);
}

/// A Python that tells its state when it is ready, and waits. Runs as nobody.
Target waiting_python(const std::string& preparation, const TargetOptions& options,
                      std::optional<Workspace> workspace = std::nullopt) {
  if (!workspace) workspace.emplace(any_interpreter());
  workspace->write("wait.py", "import json, os\n" + preparation +
                                  "\nprint(json.dumps(list(os.getresuid())), flush=True)\n"
                                  "os.read(0, 1)\n");
  return Target(*std::move(workspace), "wait.py", {}, options);
}

TargetOptions as_nobody() {
  return {.before_exec = become_nobody};
}

bool is_root() {
  if (::geteuid() == 0) return true;
  WARN("not tested: it takes root to be two users");
  return false;
}

json error_in(const Outcome& outcome) {
  INFO(outcome.out << outcome.err);
  json document = json::parse(outcome.out);
  REQUIRE(document.contains("error"));
  return document.at("error");
}

bool mentions(const json& error, const std::string& words) {
  return error.at("message").get<std::string>().find(words) != std::string::npos;
}

/// What a refused dump says: exit status 4, and in JSON as on stderr.
json refused_dump(const PublicPyscope& pyscope, pid_t pid,
                  const std::function<void()>& before_exec = become_nobody) {
  const Outcome outcome = pyscope.run({"dump", std::to_string(pid), "--json"}, before_exec);
  CHECK(outcome.status == kNotPermitted);
  json error = error_in(outcome);
  CHECK(error.at("code") == "not_permitted");
  CHECK(outcome.err.find(error.at("message").get<std::string>()) != std::string::npos);
  CHECK(outcome.err.find(error.at("hint").get<std::string>()) != std::string::npos);
  CHECK(mentions(error, fmt::format("process {}", pid)));
  return error;
}

/// A file capability, as setcap(8) writes it.
bool give_capability(const std::string& path, unsigned capability) {
  vfs_cap_data data{};
  data.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  data.data[0].permitted = 1U << capability;
  return ::setxattr(path.c_str(), "security.capability", &data, sizeof data, 0) == 0;
}

/// From now on no other process's memory can be read in the calling process: neither by
/// process_vm_readv nor by pread from such high offsets as programs are loaded at.
void refuse_to_read_memory() {
  constexpr auto kOffset = offsetof(seccomp_data, args) + 3 * sizeof(std::uint64_t);
  constexpr auto kHighHalf = kOffset + sizeof(std::uint32_t);
  constexpr std::uint32_t kLowestProgram = 0x400000;
  std::array<sock_filter, 9> filter{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 5, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pread64, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kOffset),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kLowestProgram, 2, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kHighHalf),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  if (!enter_filter(filter)) ::_exit(kNotPossible);
}

void drop_ptrace_capability() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  // execve gives a root process all that is in the bounding set.
  if (::prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0) != 0 ||
      ::syscall(SYS_capget, &header, sets.data()) != 0) {
    ::_exit(kNotPossible);
  }
  for (auto* set : {&sets[0].effective, &sets[0].permitted, &sets[0].inheritable})
    *set &= ~(1U << CAP_SYS_PTRACE);
  if (::syscall(SYS_capset, &header, sets.data()) != 0) ::_exit(kNotPossible);
}

/// A user namespace of our own, in which we are root.
void enter_user_namespace() {
  const auto write = [](const char* path, const char* text) {
    const pyscope::UniqueFd fd{::open(path, O_WRONLY | O_CLOEXEC)};
    const auto size = static_cast<ssize_t>(std::char_traits<char>::length(text));
    return fd && ::write(fd.get(), text, static_cast<std::size_t>(size)) == size;
  };
  if (::unshare(CLONE_NEWUSER) != 0 || !write("/proc/self/uid_map", "0 0 1") ||
      !write("/proc/self/setgroups", "deny") || !write("/proc/self/gid_map", "0 0 1")) {
    ::_exit(kNotPossible);
  }
}

std::function<void()> with_hidepid(const char* options) {
  return [options] {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("proc", "/proc", "proc", 0, options) != 0) {
      ::_exit(kNotPossible);
    }
    become_nobody();
  };
}

}  // namespace

TEST_CASE("lines of a file that the target may not read are not shown", "[live]") {
  if (!is_root()) return;
  const bool readable = GENERATE(true, false);
  Workspace workspace(any_interpreter());
  const std::string path = workspace.write("notes.txt", "the first line of the notes\n");
  fs::permissions(workspace.outside("notes.txt"), fs::perms(readable ? 0644 : 0600));
  const std::string preparation =
      "state = json.dumps(list(os.getresuid()))\n"
      "exec(compile('print(state, flush=True); os.read(0, 1)', '" +
      path + "', 'exec'))";
  Target target = waiting_python(preparation, as_nobody(), std::move(workspace));
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  for (const bool with_json : {true, false}) {
    std::vector<std::string> command{"dump", std::to_string(target.pid())};
    if (with_json) command.emplace_back("--json");
    const Outcome outcome = run_pyscope(command);
    CAPTURE(outcome.out, outcome.err);
    CHECK(outcome.out.find("notes.txt") != std::string::npos);
    CHECK((outcome.out.find("first line") != std::string::npos) == readable);
  }
}

TEST_CASE("another user's process is refused with the command that was typed", "[live]") {
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Target target(any_interpreter(), "stacks.py", {"plain_calls"});
  REQUIRE(target.read().at("ready") == true);
  const json error = refused_dump(pyscope, target.pid());
  CHECK(mentions(error, "it belongs to user 0"));
  CHECK(mentions(error, fmt::format("you are user {}", kNobody)));
  pyscope.check_command(error.at("hint"), fmt::format("dump {} --json", target.pid()));

  const std::string pid = std::to_string(target.pid());
  const Outcome why = pyscope.run({"why", pid, "--thread", "it's me", "--json"}, become_nobody);
  CHECK(why.status == kNotPermitted);
  pyscope.check_command(error_in(why).at("hint"),
                        fmt::format(R"(why {} --thread 'it'\''s me' --json)", pid));
  const Outcome inspect = pyscope.run({"inspect", pid, "a.b[0]", "--json"}, become_nobody);
  CHECK(inspect.status == kNotPermitted);
  pyscope.check_command(error_in(inspect).at("hint"),
                        fmt::format("inspect {} 'a.b[0]' --json", pid));
}

TEST_CASE("where /proc hides processes, none are called deadlocked", "[live]") {
  if (!is_root()) return;
  // Whether the hidden ones have an end of the pipe, nobody can know.
  Target target(any_interpreter(), "stuck_processes.py", {"full_pipe"}, as_nobody());
  const json truth = target.read();
  const pid_t child = truth.at("pids").at(1);
  const PublicPyscope pyscope;
  const auto deadlocks_seen = [&](const std::function<void()>& before_exec) {
    const Outcome outcome =
        pyscope.run({"dump", std::to_string(target.pid()), "--json"}, before_exec);
    CAPTURE(outcome.out, outcome.err);
    REQUIRE(outcome.status == 0);
    return json::parse(outcome.out).at("deadlocks").size();
  };
  // Until both stand, and root, who sees all, calls them deadlocked.
  REQUIRE(eventually([&] { return deadlocks_seen(nullptr) == 1; }));
  CAPTURE(child);
  CHECK(deadlocks_seen(with_hidepid("hidepid=2")) == 0);
}

TEST_CASE("a program that made itself not dumpable is said to have done so", "[live]") {
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Target target = waiting_python("import ctypes; ctypes.CDLL(None).prctl(4, 0)", as_nobody());
  REQUIRE(target.read() == json{kNobody, kNobody, kNobody});
  const json error = refused_dump(pyscope, target.pid());
  CHECK(mentions(error, "it isn't dumpable"));
  const std::string hint = error.at("hint");
  pyscope.check_command(hint, fmt::format("dump {} --json", target.pid()));
  CHECK(hint.find("prctl(PR_SET_DUMPABLE, 1)") != std::string::npos);
  CHECK(run_pyscope({"dump", std::to_string(target.pid())}).status == 0);  // root
  // That it's this that refuses: without it, nothing does.
  Target open = waiting_python("", as_nobody());
  (void)open.read();
  const Outcome own = pyscope.run({"dump", std::to_string(open.pid())}, become_nobody);
  CAPTURE(own.err);
  CHECK((own.status == 0 || own.err.find("yama.ptrace_scope") != std::string::npos));
}

TEST_CASE("an executable that may not be read makes a process not dumpable", "[live]") {
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Workspace workspace(any_interpreter());
  TargetOptions options = as_nobody();
  options.executable = workspace.copy_executable("unreadable");
  options.environment = {"PYTHONHOME=/usr"};
  fs::permissions(workspace.outside("unreadable"), fs::perms(0711));
  Target target = waiting_python("", options, std::move(workspace));
  (void)target.read();
  CHECK(mentions(refused_dump(pyscope, target.pid()), "you may not read its executable"));
}

TEST_CASE("a setuid program is said to have its owner's rights", "[live]") {
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Workspace workspace(any_interpreter());
  TargetOptions options = as_nobody();
  options.executable = workspace.copy_executable("setuid");
  options.environment = {"PYTHONHOME=/usr"};
  fs::permissions(workspace.outside("setuid"), fs::perms(04755));
  Target target = waiting_python("", options, std::move(workspace));
  const json uids = target.read();
  if (uids.at(1) != 0) {
    WARN("not tested: setuid has no effect on this file system");
    return;
  }
  const json error = refused_dump(pyscope, target.pid());
  CHECK(mentions(error, "it runs with the rights of user 0 (root) (a setuid program)"));
}

TEST_CASE("capabilities of a program that the caller lacks are named", "[live]") {
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Workspace workspace(any_interpreter());
  TargetOptions options = as_nobody();
  options.executable = workspace.copy_executable("capable");
  options.environment = {"PYTHONHOME=/usr"};
  fs::permissions(workspace.outside("capable"), fs::perms(0755));
  if (!give_capability(workspace.outside("capable"), CAP_NET_BIND_SERVICE)) {
    WARN("not tested: this file system keeps no capabilities");
    return;
  }
  Target target = waiting_python("", options, std::move(workspace));
  (void)target.read();
  const json error = refused_dump(pyscope, target.pid());
  CHECK(mentions(error, "it holds CAP_NET_BIND_SERVICE, which you lack"));
}

TEST_CASE("root without CAP_SYS_PTRACE is said to lack it", "[live]") {
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Target target = waiting_python("", as_nobody());
  (void)target.read();
  const json error = refused_dump(pyscope, target.pid(), drop_ptrace_capability);
  CHECK(mentions(error, "root here lacks CAP_SYS_PTRACE, and it belongs to user 65534"));
  // As sudo gives no more than that.
  CHECK_FALSE(error.at("hint").get<std::string>().starts_with("sudo"));
}

TEST_CASE("in a pod of Kubernetes its root is told of kubectl", "[live]") {
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Target target = waiting_python("", as_nobody());
  (void)target.read();
  const Outcome outcome = pyscope.run({"dump", std::to_string(target.pid()), "--json"},
                                      drop_ptrace_capability, {"KUBERNETES_SERVICE_HOST=10.0.0.1"});
  CHECK(outcome.status == kNotPermitted);
  std::array<char, 256> pod{};
  REQUIRE(::gethostname(pod.data(), pod.size() - 1) == 0);
  const std::string hint = error_in(outcome).at("hint");
  CAPTURE(hint);
  CHECK(hint.starts_with("kubectl debug -it "));
  CHECK(hint.find(fmt::format(" {} --image=", pod.data())) != std::string::npos);
  CHECK(hint.find("add: [SYS_PTRACE]") != std::string::npos);
}

TEST_CASE("a capability of another user namespace is said not to count", "[live]") {
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Target target = waiting_python("", as_nobody());
  (void)target.read();
  const std::string pid = std::to_string(target.pid());
  const Outcome outcome = pyscope.run({"dump", pid, "--json"}, enter_user_namespace);
  if (outcome.status == kNotPossible) {
    WARN("not tested: no user namespace can be made here");
    return;
  }
  CHECK(outcome.status == kNotPermitted);
  const json error = error_in(outcome);
  CHECK(mentions(error, "CAP_SYS_PTRACE is held in this user namespace only"));
  CHECK_FALSE(error.at("hint").get<std::string>().starts_with("sudo"));
}

TEST_CASE("a process that hidepid hides is there, and one that isn't there isn't", "[live]") {
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Target target(any_interpreter(), "stacks.py", {"plain_calls"});
  REQUIRE(target.read().at("ready") == true);
  const std::string pid = std::to_string(target.pid());
  const char* const options = GENERATE("hidepid=1", "hidepid=2,gid=7", "hidepid=4");
  CAPTURE(options);
  const Outcome outcome = pyscope.run({"why", pid, "--json"}, with_hidepid(options));
  if (outcome.status == kNotPossible) {
    WARN("not tested: /proc can't be mounted with " << options << " here");
    return;
  }
  CHECK(outcome.status == kNotPermitted);
  const json error = error_in(outcome);
  CHECK(mentions(error, fmt::format("process {} exists, but /proc hides it", pid)));
  CHECK(mentions(error, "it is mounted with hidepid="));
  const std::string hint = error.at("hint");
  pyscope.check_command(hint, fmt::format("why {} --json", pid));
  CHECK((hint.find("gid=7") != std::string::npos) ==
        (std::string_view(options).find("gid") != std::string_view::npos));

  target.child().kill();
  CHECK(pyscope.run({"dump", pid}, with_hidepid(options)).status == kNoSuchProcess);
}

TEST_CASE("a filter of system calls that leaves no way to read is named", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"plain_calls"});
  REQUIRE(target.read().at("ready") == true);
  PyscopeOptions options;
  options.before_exec = refuse_to_read_memory;
  const Outcome outcome = run_pyscope({"dump", std::to_string(target.pid()), "--json"}, options);
  CHECK(outcome.status == kNotPermitted);
  CHECK(mentions(error_in(outcome), "a seccomp filter refuses process_vm_readv"));
}

TEST_CASE("Yama's rule is named", "[live]") {
  const std::string scope = read_file("/proc/sys/kernel/yama/ptrace_scope");
  if (scope.empty() || scope[0] == '0') {
    WARN("not tested: this kernel "
         << (scope.empty() ? "has no Yama" : "has kernel.yama.ptrace_scope 0"));
    return;
  }
  if (!is_root()) return;
  const PublicPyscope pyscope;
  Target target = waiting_python("", as_nobody());
  (void)target.read();
  const json error = refused_dump(pyscope, target.pid());
  CHECK(mentions(error, fmt::format("kernel.yama.ptrace_scope is {}", scope.substr(0, 1))));
}

TEST_CASE("a process's name can't steer the terminal by way of an error", "[live]") {
  // No Python: what it is called is all that can be said of it.
  Workspace workspace(any_interpreter());
  const std::string program = workspace.outside("\x1b[31m\nevil");
  std::filesystem::copy_file("/bin/cat", program);
  Child child(Program{.command = {program}});
  REQUIRE(eventually(
      [&] { return read_file(fmt::format("/proc/{}/comm", child.pid())) == "\x1b[31m\nevil\n"; }));
  const Outcome outcome = run_pyscope({"dump", std::to_string(child.pid()), "-v"});
  CAPTURE(outcome.err);
  CHECK(outcome.status == 5);
  CHECK(outcome.err.find('\x1b') == std::string::npos);
  CHECK(outcome.err.find("\\x1b[31m\\x0aevil, and none") != std::string::npos);
}
