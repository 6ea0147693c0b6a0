#include "support/target.hpp"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace pyscope::test {
namespace {

namespace fs = std::filesystem;

std::string join(std::string_view folder, std::string_view name) {
  if (name.empty()) return std::string(folder);
  return fmt::format("{}/{}", folder, name);
}

std::string outside_of(const Interpreter& interpreter, const std::string& path) {
  return interpreter.root == "/" ? path : interpreter.root + path;
}

Program to_program(const Workspace& workspace, const std::string& program,
                   const std::vector<std::string>& arguments, const TargetOptions& options) {
  Program result;
  result.root = workspace.interpreter().root;
  result.directory = options.directory.empty() ? workspace.inside() : options.directory;
  result.before_exec = options.before_exec;
  result.error_file = workspace.outside("stderr");
  result.environment = {"PATH=/usr/bin:/bin", "HOME=/tmp", "LC_ALL=C.UTF-8",
                        "PYTHONPATH=" + workspace.inside()};
  const auto append = [](std::vector<std::string>& to, const std::vector<std::string>& words) {
    to.insert(to.end(), words.begin(), words.end());
  };
  append(result.environment, options.environment);
  append(result.command, options.launcher);
  result.command.push_back(options.executable.empty() ? workspace.interpreter().executable
                                                      : options.executable);
  append(result.command, options.flags);
  if (!program.empty()) {
    const bool is_name = program.find('/') == std::string::npos && options.directory.empty();
    result.command.push_back(is_name ? workspace.inside(program) : program);
  }
  append(result.command, arguments);
  return result;
}

}  // namespace

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content
      << file.rdbuf();  // unlike an iterator it throws nothing where a file of /proc ends in ESRCH
  return content.str();
}

void write_file(const std::string& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path);
}

Workspace::Workspace(const Interpreter& interpreter) : interpreter_(interpreter) {
  std::string pattern = outside_of(interpreter, "/tmp/pyscope-live-XXXXXX");
  if (::mkdtemp(pattern.data()) == nullptr) throw_errno("mkdtemp " + pattern);
  folder_ = "/tmp/" + fs::path(pattern).filename().string();
  // Targets that give up their rights must be able to enter it too.
  constexpr mode_t kMode = 0755;
  if (::chmod(pattern.c_str(), kMode) != 0) throw_errno("chmod " + pattern);
  for (const auto& entry : fs::directory_iterator(PYSCOPE_TEST_PROGRAMS)) {
    if (entry.path().extension() == ".py") fs::copy(entry.path(), pattern);
  }
}

Workspace::Workspace(Workspace&& other) noexcept
    : interpreter_(std::move(other.interpreter_)), folder_(std::exchange(other.folder_, {})) {}

Workspace::~Workspace() {
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(outside(), ignored);
}

std::string Workspace::inside(std::string_view name) const {
  return join(folder_, name);
}

std::string Workspace::outside(std::string_view name) const {
  return outside_of(interpreter_, inside(name));
}

std::string Workspace::write(std::string_view name, std::string_view content) const {
  fs::create_directories(fs::path(outside(name)).parent_path());
  write_file(outside(name), content);
  return inside(name);
}

std::string Workspace::copy_executable(std::string_view name) const {
  fs::copy_file(outside_of(interpreter_, interpreter_.executable), outside(name));
  return inside(name);
}

Target::Target(const Interpreter& interpreter, const std::string& program,
               const std::vector<std::string>& arguments, const TargetOptions& options)
    : Target(Workspace(interpreter), program, arguments, options) {}

Target::Target(Workspace workspace, const std::string& program,
               const std::vector<std::string>& arguments, const TargetOptions& options)
    : workspace_(std::move(workspace)),
      child_(to_program(workspace_, program, arguments, options)) {}

nlohmann::json Target::read() {
  try {
    return nlohmann::json::parse(child_.read_line());
  } catch (const std::exception& error) {
    throw std::runtime_error(fmt::format("{}; its stderr: {}", error.what(), error_output()));
  }
}

nlohmann::json Target::ask() {
  child_.send("?");
  return read();
}

std::string Target::error_output() const {
  return read_file(workspace_.outside("stderr"));
}

std::vector<TaskActivity> task_activity(pid_t pid) {
  std::vector<TaskActivity> tasks;
  std::error_code gone;
  const auto folder = fmt::format("/proc/{}/task", pid);
  for (const auto& entry : fs::directory_iterator(folder, gone)) {
    std::istringstream status(read_file(entry.path() / "status"));
    TaskActivity task;
    task.tid = std::stoi(entry.path().filename());
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("State:")) task.state = line[line.find_first_not_of("\t ", 6)];
      if (line.starts_with("TracerPid:")) task.tracer = std::stoi(line.substr(line.find('\t')));
      if (line.find("ctxt_switches:") != std::string::npos) task.switches += line;
    }
    tasks.push_back(std::move(task));
  }
  // The main thread first: once the numbers have begun anew, another thread may have a lower one.
  std::sort(tasks.begin(), tasks.end(), [pid](const TaskActivity& a, const TaskActivity& b) {
    return std::pair(a.tid != pid, a.tid) < std::pair(b.tid != pid, b.tid);
  });
  return tasks;
}

std::vector<pid_t> standing_threads(pid_t pid) {
  std::vector<pid_t> standing;
  for (const TaskActivity& task : task_activity(pid)) {
    if (task.state == 't' || task.state == 'T' || task.tracer != 0) standing.push_back(task.tid);
  }
  return standing;
}

bool goes_on(pid_t pid) {
  return eventually([&] { return standing_threads(pid).empty(); });
}

bool all_sleep(pid_t pid) {
  std::vector<TaskActivity> last;
  return eventually([&] {
    auto now = task_activity(pid);
    const bool asleep = !now.empty() && std::all_of(now.begin(), now.end(), [](const auto& task) {
      return task.state == 'S' || task.state == 'D';
    });
    const bool unchanged = now == last;
    last = std::move(now);
    return asleep && unchanged;
  });
}

}  // namespace pyscope::test
