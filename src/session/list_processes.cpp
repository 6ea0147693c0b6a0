// Which Python processes there are: what the kernel shows of all processes, and a short look into
// each that may be one.
#include <regex.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "base/file_name.hpp"
#include "base/shortage.hpp"
#include "base/watched.hpp"
#include "memory/page_cache.hpp"
#include "process/cgroup.hpp"
#include "process/other_processes.hpp"
#include "process/user_names.hpp"
#include "process/words.hpp"
#include "pyscope/processes.hpp"
#include "python/reader.hpp"
#include "python/runtime_state.hpp"
#include "session/attach.hpp"
#include "values/secrets.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMostReaders = 8;
/// How long one process may take.
// Bound: looking for Python in one process of many
constexpr std::chrono::seconds kPatience{2};

/// A pattern as grep -E takes it.
class Pattern {
 public:
  static Result<Pattern> compile(const std::string& text) {
    Pattern pattern;
    const int error = ::regcomp(&pattern.regex_->compiled, text.c_str(), REG_EXTENDED | REG_NOSUB);
    if (error != 0) {
      std::array<char, 256> why{};
      ::regerror(error, &pattern.regex_->compiled, why.data(), why.size());
      return fail(ErrorKind::Usage,
                  fmt::format("'{}' is no regular expression: {}", text, why.data()),
                  "--match takes what grep -E takes");
    }
    pattern.regex_->valid = true;
    return pattern;
  }
  [[nodiscard]] bool matches(const std::string& text) const {
    return ::regexec(&regex_->compiled, text.c_str(), 0, nullptr, 0) == 0;
  }

 private:
  struct Regex {
    Regex() = default;
    Regex(const Regex&) = delete;
    Regex& operator=(const Regex&) = delete;
    ~Regex() {
      if (valid) ::regfree(&compiled);
    }
    regex_t compiled{};
    bool valid = false;
  };
  std::unique_ptr<Regex> regex_ = std::make_unique<Regex>();
};

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ' ';
    text += word;
  }
  return text;
}

/// What can be said of a process that can't be looked into.
bool looks_like_python(const PythonProcess& process, const std::string& name) {
  const auto is_python = [](std::string_view file) {
    return file_name(file).starts_with("python");
  };
  return is_python(name) || is_python(process.executable) ||
         (!process.command.empty() && is_python(process.command.front()));
}

bool is_unit(std::string_view unit, std::string_view wanted) {
  return unit == wanted || (unit.starts_with(wanted) && unit.substr(wanted.size()) == ".service");
}

class Lister {
 public:
  Lister(ProcessFilter filter, std::optional<Pattern> pattern, std::optional<uid_t> uid,
         UserNames users)
      : filter_(std::move(filter)),
        pattern_(std::move(pattern)),
        uid_(uid),
        users_(std::move(users)),
        secrets_(filter_.secret_names),
        log_(filter_.log) {}

  [[nodiscard]] const ProcessFilter& filter() const { return filter_; }

  /// Nothing for a process that isn't wanted, isn't Python, or has ended.
  std::optional<PythonProcess> look(pid_t pid) {
    // A process that replaces its program meanwhile is looked at again: the command line of one
    // program doesn't belong to the version of the next one.
    constexpr int kMostLooks = 3;
    for (int i = 0; i < kMostLooks; ++i) {
      const auto process = Process::open(pid, Log());
      if (!process) return std::nullopt;  // ended, a zombie, a thread of the kernel
      auto found = look(*process);
      if (!process->replaced_program()) return found;
    }
    return std::nullopt;
  }

  /// A process that a read of doesn't come back from: whether it is Python isn't known.
  [[nodiscard]] std::optional<PythonProcess> unanswering(pid_t pid) const {
    const auto process = Process::open(pid, Log());
    auto found = process ? list_facts(*process) : std::nullopt;
    if (!found) return std::nullopt;
    found->captured_at = std::chrono::system_clock::now();
    utsname host{};
    if (::uname(&host) == 0) found->host = host.nodename;
    found->refusal =
        Error{ErrorKind::Failed,
              fmt::format("process {} ({}) could not be looked at within {} s: its memory, or the "
                          "files that it maps, may be on something that doesn't answer",
                          pid, process->name(), kPatience.count()),
              ""};
    return found;
  }

 private:
  std::optional<PythonProcess> look(const Process& process) {
    const pid_t pid = process.pid();
    auto listed = list_facts(process);
    if (!listed) return std::nullopt;
    PythonProcess& found = *listed;
    ProcessFacts facts = process.facts();
    if (pattern_ && !pattern_->matches(join(facts.command))) return std::nullopt;
    const Confinement confinement = parse_cgroup(process.read_file("cgroup").value_or(""));
    if (!filter_.unit.empty() && !is_unit(confinement.unit, filter_.unit)) return std::nullopt;
    if (!filter_.container.empty() && !confinement.container.starts_with(filter_.container)) {
      return std::nullopt;
    }
    found.container = confinement.container;
    found.unit = confinement.unit;
    found.namespace_pid = facts.namespace_pid;
    found.executable = std::move(facts.executable);
    found.command = filter_.show_secrets ? std::move(facts.command)
                                         : mask_command(std::move(facts.command), secrets_);
    found.started_at = facts.started_at;
    found.captured_at = facts.captured_at;
    found.host = std::move(facts.host);
    Sighting seen = examine(pid, known_, log_);
    if (!seen.process) {
      const Error& refusal = seen.process.error();
      if (refusal.kind == ErrorKind::NoSuchProcess) return std::nullopt;
      if (!seen.python &&
          !(refusal.kind != ErrorKind::Unsupported && looks_like_python(found, process.name()))) {
        return std::nullopt;
      }
      found.refusal = refusal;
    } else if (seen.python) {
      seen.python->debug_build = debug_build(*seen.process);
    }
    // By now its pid could be another process's.
    if (process.ended()) return std::nullopt;
    found.python = std::move(seen.python);
    return listed;
  }

  /// What the kernel tells without looking into the process's memory. Nothing for a process that
  /// has ended, or is another user's than is wanted.
  [[nodiscard]] std::optional<PythonProcess> list_facts(const Process& process) const {
    const auto status = process.read_file("status");
    const auto stat = process.read_file("stat");
    const auto parsed = stat ? parse_stat(*stat) : std::nullopt;
    if (!status || !parsed) return std::nullopt;
    PythonProcess found;
    found.pid = process.pid();
    found.namespace_pid = process.pid();
    found.parent_pid = parsed->parent;
    const auto uids = status_words(*status, "Uid");  // real, effective, saved, file system
    found.uid = uids.size() < 2 ? 0 : to_number<uid_t>(uids[1]).value_or(0);
    if (uid_ && found.uid != *uid_) return std::nullopt;
    found.user = users_.name(found.uid);
    const auto threads = status_words(*status, "Threads");
    found.threads = threads.empty() ? 1 : to_number<std::size_t>(threads[0]).value_or(1);
    found.cpu_time_us = cpu_time_us(*parsed);
    const auto namespace_pids = status_words(*status, "NSpid");
    if (!namespace_pids.empty()) {
      found.namespace_pid = to_number<pid_t>(namespace_pids.back()).value_or(found.pid);
    }
    return found;
  }

  static std::optional<bool> debug_build(const AttachedProcess& attached) {
    Budget budget(Deadline::after(kPatience));
    const TargetMemory memory(attached.target->memory(), budget);
    const PageCache cache(memory);
    const Reader reader(cache, attached.runtime.offsets);
    const auto runtime = read_interpreters(reader, attached.runtime.at);
    if (!runtime || runtime->interpreters.empty()) return std::nullopt;
    return read_debug_build(reader, runtime->interpreters.front());
  }

  ProcessFilter filter_;
  std::optional<Pattern> pattern_;
  std::optional<uid_t> uid_;
  UserNames users_;
  SecretNames secrets_;
  Log log_;
  FilesWithoutPython known_;
};

}  // namespace

Result<std::vector<PythonProcess>> list_python_processes(const ProcessFilter& filter) {
  const ShortageWatch shortages;
  std::optional<Pattern> pattern;
  if (!filter.match.empty()) {
    auto compiled = Pattern::compile(filter.match);
    if (!compiled) return fail(std::move(compiled).error());
    pattern = *std::move(compiled);
  }
  const UserNames users;
  if (auto read = shortages.judge(Result<void>()); !read) return fail(std::move(read).error());
  std::optional<uid_t> uid;
  if (!filter.user.empty()) {
    uid = users.uid(filter.user);
    if (!uid) {
      return fail(ErrorKind::Usage, fmt::format("there is no user '{}' here", filter.user),
                  "--user takes a name of /etc/passwd, or a number");
    }
  }
  const std::vector<pid_t> pids = filter.pids ? *filter.pids : list_pids();
  const auto lister = std::make_shared<Lister>(filter, std::move(pattern), uid, users);
  // Half of the time is spent in the kernel, so that threads pay. With a log there is one thread,
  // so that the steps are told in their order.
  const std::size_t readers =
      filter.log ? 1
                 : std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kMostReaders);
  std::vector<PythonProcess> processes;
  run_watched(
      pids.size(), readers, kPatience,
      [lister, pids](std::size_t i) { return lister->look(pids[i]); },
      [&](std::size_t i, std::optional<std::optional<PythonProcess>> found) {
        auto process = found ? *std::move(found) : lister->unanswering(pids[i]);
        if (process) processes.push_back(*std::move(process));
      });
  std::sort(processes.begin(), processes.end(),
            [](const PythonProcess& a, const PythonProcess& b) { return a.pid < b.pid; });
  return shortages.judge(Result<std::vector<PythonProcess>>(std::move(processes)));
}

std::vector<pid_t> find_trees(std::span<const pid_t> roots) {
  std::multimap<pid_t, pid_t> children;
  for (const auto& [pid, parent] : list_parents())
    children.emplace(parent, pid);
  std::vector<pid_t> found;
  // A pid that is used again while they are listed could make a circle.
  std::set<pid_t> seen(roots.begin(), roots.end());
  const auto add_children = [&](pid_t parent, std::vector<pid_t>& stack) {
    const auto [begin, end] = children.equal_range(parent);
    std::vector<pid_t> mine;
    for (auto child = begin; child != end; ++child) {
      if (seen.insert(child->second).second) mine.push_back(child->second);
    }
    std::sort(mine.rbegin(), mine.rend());  // the first is taken first
    stack.insert(stack.end(), mine.begin(), mine.end());
  };
  for (const pid_t root : roots) {
    std::vector<pid_t> stack{root};
    while (!stack.empty()) {
      const pid_t pid = stack.back();
      stack.pop_back();
      found.push_back(pid);
      add_children(pid, stack);
    }
  }
  return found;
}

}  // namespace pyscope
