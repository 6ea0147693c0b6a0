#include "session/attach.hpp"

#include <elf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "base/file_name.hpp"
#include "base/kernel_call.hpp"
#include "elf/elf_image.hpp"
#include "process/namespace_pids.hpp"
#include "process/permission.hpp"
#include "pyscope/command_hint.hpp"
#include "python/unpublished_offsets.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kPageSize = 4096;
#if defined(__x86_64__)
constexpr std::uint16_t kOwnMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr std::uint16_t kOwnMachine = EM_AARCH64;
#endif

/// All mappings of one file.
struct MappedFile {
  std::vector<const Mapping*> mappings;

  [[nodiscard]] const std::string& path() const { return mappings.front()->path; }
  [[nodiscard]] const Mapping* first_page() const {
    const auto found = std::find_if(mappings.begin(), mappings.end(),
                                    [](const Mapping* m) { return m->file_offset == 0; });
    return found == mappings.end() ? nullptr : *found;
  }
};

// Files with code, the likely ones first: what the process was started from (its mappings come
// first in almost every process), then what is called python, then the others. The name decides
// nothing, since interpreters are embedded in programs of any name.
std::vector<MappedFile> files_with_code(const std::vector<Mapping>& maps,
                                        const std::string& executable) {
  std::vector<MappedFile> files;
  std::map<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>, std::size_t> known;
  for (const Mapping& mapping : maps) {
    if (mapping.inode == 0) continue;
    const auto [place, fresh] = known.try_emplace(
        {mapping.device_major, mapping.device_minor, mapping.inode}, files.size());
    if (fresh) files.emplace_back();
    files[place->second].mappings.push_back(&mapping);
  }
  std::erase_if(files, [](const MappedFile& file) {
    return std::none_of(file.mappings.begin(), file.mappings.end(),
                        [](const Mapping* mapping) { return mapping->executable; });
  });
  const auto rank = [&](const MappedFile& file) {
    if (file_name(file.path()) == file_name(executable)) return 0;
    return file_name(file.path()).find("python") != std::string_view::npos ? 1 : 2;
  };
  std::stable_sort(files.begin(), files.end(),
                   [&](const MappedFile& a, const MappedFile& b) { return rank(a) < rank(b); });
  return files;
}

// Every place where the file may be loaded: a mapping that begins where a segment begins gives a
// bias. There is more than one where a program maps a file a second time for purposes of its own.
std::vector<std::uint64_t> load_biases(const ElfImage& image, const MappedFile& file) {
  // Segments and mappings may be many and all alike.
  // Bound: places where one file may be loaded
  constexpr std::size_t kMostBiases = 64;
  std::vector<std::uint64_t> biases;
  if (!image.position_independent) return {0};
  for (const ElfSegment& segment : image.segments) {
    for (const Mapping* mapping : file.mappings) {
      if (biases.size() == kMostBiases) return biases;
      if (mapping->file_offset != segment.file_offset / kPageSize * kPageSize) continue;
      const std::uint64_t bias =
          mapping->range.start.raw() - segment.address / kPageSize * kPageSize;
      if (std::find(biases.begin(), biases.end(), bias) == biases.end()) biases.push_back(bias);
    }
  }
  return biases;
}

class RuntimeFinder {
 public:
  RuntimeFinder(const Process& process, const LiveMemory& memory, FilesWithoutPython& known,
                const Log& log)
      : process_(process), memory_(memory), known_(known), log_(log) {}

  /// What was seen of a Python, found or refused.
  [[nodiscard]] std::optional<PythonBuild> seen() const { return seen_; }

  [[nodiscard]] const std::string& executable() const { return executable_; }

  /// True if nothing at all is mapped. A process that ends loses its memory before it is gone.
  [[nodiscard]] bool lost_memory() const { return looked_ && mapped_.empty(); }

  /// Whether the process has replaced its program since it was looked into, or is about to, as far
  /// as can be seen. In an exec there is a moment in which nothing of the new program is mapped.
  [[nodiscard]] bool replaced_program() const {
    if (nothing_mapped_ || process_.replaced_program()) return true;
    const auto maps = process_.maps();
    return maps && (stack_end(*maps) != stack_end_ ||
                    process_.read_link("exe").value_or("") != executable_);
  }

  /// With `accept_shut_down`, also a runtime without interpreters that had some.
  Result<Runtime> find(bool accept_shut_down) {
    const auto maps = process_.maps();
    if (!maps) return fail(maps.error());
    executable_ = process_.read_link("exe").value_or("");
    stack_end_ = stack_end(*maps);
    log_("executable: {}; {} mappings", executable_, maps->size());
    if (auto ok = check_readable(*maps); !ok) return fail(std::move(ok).error());
    files_ = files_with_code(*maps, executable_);
    nothing_mapped_ = files_.empty();
    for (const Mapping& mapping : *maps)
      mapped_.push_back(mapping.range);
    looked_ = true;
    // Bound: files that are looked into for a Python
    constexpr std::size_t kMostFiles = 8192;
    for (std::size_t i = 0; i < files_.size() && i < kMostFiles; ++i)
      look_into(files_[i]);
    if (found_) return *found_;
    if (shut_down_ && accept_shut_down) return *shut_down_;
    if (refusal_) return fail(*refusal_);
    if (unreadable_) return fail(*unreadable_);
    if (files_.size() > kMostFiles || scan_left_ == 0 || tries_left_ == 0) {
      return fail(ErrorKind::Failed,
                  fmt::format("process {} ({}) maps more than is looked through for a Python",
                              process_.pid(), process_.name()));
    }
    return fail(not_python());
  }

 private:
  // Says no for lack of permission at once, in place of finding nothing.
  Result<void> check_readable(const std::vector<Mapping>& maps) {
    for (const Mapping& mapping : maps) {
      if (!mapping.readable || mapping.path == "[vvar]" || mapping.path == "[vvar_vclock]")
        continue;
      std::array<std::byte, 1> byte{};
      const auto ok = memory_.read(mapping.range.start, byte);
      if (ok) {
        if (memory_.uses_proc_mem())
          log_("process_vm_readv is refused; reading /proc/PID/mem instead");
        return {};
      }
      if (ok.error().kind == ErrorKind::NotPermitted)
        return fail(explain_refusal(process_, RefusedStep::Reading));
      if (ok.error().kind == ErrorKind::NoSuchProcess) {
        return fail(ErrorKind::NoSuchProcess,
                    fmt::format("process {} ended while it was looked at", process_.pid()));
      }
    }
    return {};
  }

  std::vector<std::byte> read_head(const MappedFile& file) const {
    std::vector<std::byte> head(kPageSize);
    const Mapping* first = file.first_page();
    if (first == nullptr || !memory_.read(first->range.start, head)) head.clear();
    return head;
  }

  void look_into(const MappedFile& file) {
    // Once a running interpreter is found, no other file is looked into: that could only find a
    // second runtime in the process, and would cost some system calls for each file.
    if (found_ || known_.contains(*file.mappings.front())) return;
    const auto head = read_head(file);
    log_("looking into {}", file.path());
    const auto fd = process_.open_mapped_file(*file.mappings.front(), head, log_);
    auto image = fd ? read_elf(fd->get()) : read_elf_head(head);
    if (!image) {
      log_("  {}", image.error().message);
      if (file_name(file.path()) == file_name(executable_)) executable_is_ = image.error().message;
      return;
    }
    if (image->machine != kOwnMachine) {
      executable_is_ = "a program for another processor";
      return;
    }
    const auto biases = load_biases(*image, file);
    if (const ElfSection* section = image->section(".PyRuntime")) {
      for (const std::uint64_t bias : biases) {
        log_("  .PyRuntime at {:#x} with the load bias {:#x}", section->address + bias, bias);
        try_runtime(RemoteAddr{section->address + bias});
      }
      if (!found_ && !refusal_ && !unreadable_ && fd)
        look_for_old_python(fd->get(), biases, file, section);
    } else if (image->sections.empty()) {
      log_("  no section headers: scanning its writable segments");
      for (const std::uint64_t bias : biases)
        scan(*image, bias);
    } else if (fd) {
      // A program that refers to _PyRuntime itself has the only copy of it that is used, in its own
      // .bss (a copy relocation).
      const auto copy = find_dynamic_symbol(fd->get(), "_PyRuntime");
      for (const std::uint64_t bias : copy ? biases : std::vector<std::uint64_t>{}) {
        log_("  _PyRuntime at {:#x} with the load bias {:#x}", *copy + bias, bias);
        try_runtime(RemoteAddr{*copy + bias});
      }
      if (found_ || refusal_ || unreadable_) return;
      look_for_old_python(fd->get(), biases, file, nullptr);
      if (!old_python_ && !found_ && !refusal_) known_.insert(*file.mappings.front());
    }
  }

  void scan(const ElfImage& image, std::uint64_t bias) {
    constexpr std::uint64_t kPiece = std::uint64_t{1} << 20U;
    for (const ElfSegment& segment : image.segments) {
      if (!segment.writable) continue;
      const std::uint64_t start = (segment.address + bias + 7) / 8 * 8;
      // A file may have many segments in one place, and be mapped many times.
      if (!scanned_.insert(start).second) continue;
      const std::uint64_t size = std::min(segment.file_size, scan_left_);
      scan_left_ -= size;
      std::vector<std::byte> piece(kPiece);
      for (std::uint64_t done = 0; done < size && !found_; done += kPiece) {
        const auto bytes = std::span{piece}.first(std::min(kPiece, size - done));
        if (!memory_.read(RemoteAddr{start + done}, bytes)) continue;
        for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
          if (std::memcmp(bytes.data() + i, DebugOffsets::kCookie.data(), 8) == 0) {
            log_("  cookie at {:#x}", start + done + i);
            try_runtime(RemoteAddr{start + done + i});
          }
        }
      }
    }
  }

  // The kernel places the stack of each program at random. The stack grows at its other end only.
  static std::uint64_t stack_end(const std::vector<Mapping>& maps) {
    const auto stack = std::find_if(
        maps.begin(), maps.end(), [](const Mapping& mapping) { return mapping.path == "[stack]"; });
    return stack == maps.end() ? 0 : stack->range.start.raw() + stack->range.size;
  }

  void try_runtime(RemoteAddr at) {
    if (found_ || tries_left_ == 0) return;
    --tries_left_;
    std::array<std::byte, DebugOffsets::kMaxSize> table{};
    if (auto ok = memory_.read(at, table); !ok) {
      log_("  {}", ok.error().message);
      // An exec maps a program piece by piece.
      if (std::none_of(mapped_.begin(), mapped_.end(),
                       [at](const RemoteRange& range) { return range.contains(at); })) {
        if (!refusal_) {
          refusal_ =
              Error{ErrorKind::Unsupported,
                    fmt::format(
                        "process {} ({}) holds a CPython whose data at {:#x} is not mapped, so no "
                        "interpreter is running in it: it has not started yet, or it is damaged",
                        process_.pid(), process_.name(), at.raw()),
                    "try again"};
        }
        return;
      }
      // There may be other places to look at. This error is told if nothing better turns up.
      if (!unreadable_) {
        unreadable_ = with_command_hint(
            ok.error().kind == ErrorKind::NotPermitted ? ErrorKind::NotPermitted
                                                       : ErrorKind::Failed,
            fmt::format("process {} ({}) holds a CPython, but its table of structure offsets at "
                        "{:#x} can't be read: {}",
                        process_.pid(), process_.name(), at.raw(), ok.error().message),
            {.action = CommandHint::Action::TryVerbosely});
      }
      return;
    }
    auto offsets = DebugOffsets::decode(table);
    if (const auto version = DebugOffsets::decode_version(table)) {
      seen_ = PythonBuild{version->text(), version->free_threaded, std::nullopt};
    }
    if (!offsets) {
      log_("  {}", offsets.error().message);
      // The user needs to hear that this is a Python that isn't supported. A table that makes no
      // sense is told, too, unless a better one turns up.
      const bool cookie = std::memcmp(table.data(), DebugOffsets::kCookie.data(), 8) == 0;
      if (cookie && !refusal_) {
        refusal_ = offsets.error();
        refusal_->kind = ErrorKind::Unsupported;
        refusal_->message =
            fmt::format("process {} ({}): {}", process_.pid(), process_.name(), refusal_->message);
      }
      return;
    }
    const auto head =
        read_as<std::uint64_t>(memory_, at, (*offsets)[Field::RuntimeInterpretersHead]);
    log_("  CPython {}, interpreters at {:#x}", offsets->version().text(), head.value_or(0));
    if (!head) return;
    if (*head != 0) {
      found_ = Runtime{at, *std::move(offsets)};
      return;
    }
    const std::uint64_t next_id = (*offsets)[Field::RuntimeInterpretersHead] + kNextInterpreterId;
    if (read_as<std::int64_t>(memory_, at, next_id).value_or(-1) > 0) {
      refusal_ = Error{
          ErrorKind::Unsupported,
          fmt::format("process {} ({}) holds CPython {}, which has shut down: no thread of the "
                      "process can run Python any more",
                      process_.pid(), process_.name(), offsets->version().text()),
          "dump --native shows what its threads do"};
      shut_down_ = Runtime{at, *std::move(offsets), true};
    } else if (!refusal_) {
      refusal_ =
          Error{ErrorKind::Unsupported,
                fmt::format("process {} ({}) holds CPython {}, but no interpreter is running in "
                            "it: it has not started yet",
                            process_.pid(), process_.name(), offsets->version().text()),
                "try again if the process has just been started"};
    }
  }

  // CPython before 3.13 publishes no offsets. The exported _PyRuntime says where its state is; and
  // the exported Py_Version, since 3.11, of which version it is. Both may have been copied into a
  // program that refers to them.
  void look_for_old_python(int fd, const std::vector<std::uint64_t>& biases, const MappedFile& file,
                           const ElfSection* section) {
    const auto symbol = find_dynamic_symbol(fd, "_PyRuntime");
    const auto main = symbol ? symbol : find_dynamic_symbol(fd, "Py_Initialize");
    if (!main && section == nullptr) return;
    const std::optional<PythonVersion> exported = exported_version(fd, biases);
    if (symbol || section != nullptr) {
      for (const std::uint64_t bias : biases)
        try_unpublished(RemoteAddr{(symbol ? *symbol : section->address) + bias}, exported);
    }
    if (found_ || refusal_ || !main || old_python_) return;
    const std::string version =
        exported ? exported->text() : version_in_name(file_name(file.path()));
    seen_ = PythonBuild{version, false, std::nullopt};
    old_python_ = version.empty() ? "a CPython older than 3.11" : "CPython " + version;
  }

  [[nodiscard]] std::optional<PythonVersion> exported_version(
      int fd, const std::vector<std::uint64_t>& biases) const {
    const auto symbol = find_dynamic_symbol(fd, "Py_Version");
    if (!symbol) return std::nullopt;
    for (const std::uint64_t bias : biases) {
      const auto hex = read_as<std::uint64_t>(memory_, RemoteAddr{*symbol + bias});
      if (hex && (*hex >> 24U) == 3)
        return PythonVersion::from_hex(static_cast<std::uint32_t>(*hex));
    }
    return std::nullopt;
  }

  void try_unpublished(RemoteAddr at, const std::optional<PythonVersion>& exported) {
    if (found_ || tries_left_ == 0) return;
    --tries_left_;
    if (exported) {
      const PythonLayout* layout = find_layout(exported->minor);
      if (layout == nullptr || !layout->fields.empty()) return;
      seen_ = PythonBuild{exported->text(), false, std::nullopt};
    }
    auto offsets = identify_runtime(memory_, at, exported);
    if (offsets) {
      log_("  CPython {}, recognised by its structures", offsets->version().text());
      seen_ = PythonBuild{offsets->version().text(), false, std::nullopt};
      found_ = Runtime{at, *std::move(offsets)};
      return;
    }
    log_("  {}", offsets.error().message);
    if (!exported || refusal_) return;
    const bool stopped = offsets.error().kind == ErrorKind::Unsupported;
    refusal_ = stopped
                   ? Error{ErrorKind::Unsupported,
                           fmt::format("process {} ({}) holds CPython {}, but no interpreter is "
                                       "running in it: it has not started yet, or it has shut down",
                                       process_.pid(), process_.name(), exported->text()),
                           "try again if the process has just been started"}
                   : Error{ErrorKind::Unsupported,
                           fmt::format("process {} ({}) runs CPython {}, but its structures are "
                                       "not those that pyscope knows of 3.{}: {}",
                                       process_.pid(), process_.name(), exported->text(),
                                       exported->minor, offsets.error().message),
                           "try py-spy or pystack"};
    if (stopped && exported->level != 0xF && exported->level != 0xC) {
      refusal_ = offsets.error();
      refusal_->message =
          fmt::format("process {} ({}): {}", process_.pid(), process_.name(), refusal_->message);
    }
  }

  Error not_python() const {
    if (old_python_) {
      return {ErrorKind::Unsupported,
              fmt::format("process {} ({}) runs {}; pyscope reads CPython {}", process_.pid(),
                          process_.name(), *old_python_, supported_versions()),
              "for older versions use py-spy or pystack"};
    }
    std::string what = executable_.empty() ? process_.name() : executable_;
    if (!executable_is_.empty()) what += ", " + executable_is_;
    return with_command_hint(
        ErrorKind::Unsupported,
        fmt::format(
            "process {} is not Python: it runs {}, and none of the {} program files that it "
            "has mapped holds a CPython",
            process_.pid(), what, files_.size()),
        {.action = CommandHint::Action::ListProcesses});
  }

  const Process& process_;
  const LiveMemory& memory_;
  FilesWithoutPython& known_;
  const Log& log_;
  std::optional<PythonBuild> seen_;
  std::string executable_;
  std::uint64_t stack_end_ = 0;
  // The budget for the whole process: bytes that are scanned for a cookie, and places that are
  // tried as a runtime.
  std::uint64_t scan_left_ = std::uint64_t{256} << 20U;
  std::size_t tries_left_ = 4096;
  std::set<std::uint64_t> scanned_;  // where segments that were scanned begin
  bool looked_ = false;              // its mappings are known
  std::vector<RemoteRange> mapped_;
  bool nothing_mapped_ = false;  // no file with code, and that is known
  std::vector<MappedFile> files_;
  std::optional<Runtime> found_;
  std::optional<Runtime> shut_down_;
  std::optional<Error> refusal_;
  std::optional<Error> unreadable_;
  std::optional<std::string> old_python_;
  std::string executable_is_;  // why the main program can't be looked into
};

}  // namespace

bool FilesWithoutPython::contains(const Mapping& file) const {
  const std::lock_guard lock(mutex_);
  return files_.contains({file.device_major, file.device_minor, file.inode, file.path});
}

void FilesWithoutPython::insert(const Mapping& file) {
  const std::lock_guard lock(mutex_);
  files_.emplace(file.device_major, file.device_minor, file.inode, file.path);
}

Sighting examine(pid_t pid, FilesWithoutPython& known, const Log& log, bool accept_shut_down) {
  auto process = Process::open(pid, log);
  if (!process) return {fail(std::move(process).error()), std::nullopt};
  auto target = std::make_unique<ProcessTarget>(*std::move(process));
  const Process* const pinned = target->process();
  RuntimeFinder finder(*pinned, target->memory(), known, log);
  auto runtime = finder.find(accept_shut_down);
  // Whatever was found is about this process only if it hasn't ended meanwhile.
  if (pinned->ended() || finder.lost_memory()) {
    return {fail(ErrorKind::NoSuchProcess,
                 fmt::format("process {} ({}) ended while it was read", pid, pinned->name())),
            std::nullopt};
  }
  // The same goes for a process that has become another program: the mappings were those of the
  // old one. The check takes time, so it is left out for what is plainly no Python.
  if (!runtime && runtime.error().kind != ErrorKind::NotPermitted &&
      (runtime.error().kind == ErrorKind::Failed || finder.seen() ||
       file_name(finder.executable()).starts_with("python")) &&
      finder.replaced_program()) {
    return {fail(ErrorKind::NoSuchProcess,
                 fmt::format("process {} ({}) replaced its program while it was looked into", pid,
                             pinned->name()),
                 "try again"),
            std::nullopt};
  }
  if (!runtime && !finder.seen() && KernelCall::any_unanswered()) {
    // It may lie in what couldn't be looked at.
    return {fail(ErrorKind::Malformed,
                 fmt::format("whether process {} ({}) runs Python can't be told: the kernel gets "
                             "no answer about {}",
                             pid, pinned->name(), fmt::join(KernelCall::unanswered(pid), ", "))),
            std::nullopt};
  }
  if (!runtime) return {fail(std::move(runtime).error()), finder.seen()};
  return {AttachedProcess{std::move(target), *std::move(runtime)}, finder.seen()};
}

Result<AttachedProcess> attach(pid_t pid, const Log& log, bool accept_shut_down) {
  FilesWithoutPython known;
  Sighting seen = examine(pid, known, log, accept_shut_down);
  if (seen.process || seen.python) return std::move(seen.process);
  // Whoever looks from outside of a container may have been told the PID that a process has inside.
  // The low numbers there are mostly threads of the kernel's here.
  const ErrorKind kind = seen.process.error().kind;
  const bool there = ::access(fmt::format("/proc/{}", pid).c_str(), F_OK) == 0;
  if (kind == ErrorKind::Unsupported || (kind == ErrorKind::NoSuchProcess && !there)) {
    return fail(with_inner_processes(std::move(seen.process).error(), pid, find_inner_pid(pid)));
  }
  return std::move(seen.process);
}

bool runs_same_program(const AttachedProcess& attached) {
  if (attached.target->replaced_program()) return false;
  // Where a replaced program can't be seen, the runtime must at least be where it was found.
  if (attached.runtime.offsets.layout().fields.empty()) {
    return is_same_runtime(attached.target->memory(), attached.runtime.at,
                           attached.runtime.offsets);
  }
  std::array<std::byte, DebugOffsets::kHeaderSize> header{};
  if (!attached.target->memory().read(attached.runtime.at, header)) return false;
  std::uint32_t version = 0;
  std::memcpy(&version, header.data() + DebugOffsets::kCookie.size(), sizeof version);
  return std::memcmp(header.data(), DebugOffsets::kCookie.data(), DebugOffsets::kCookie.size()) ==
             0 &&
         PythonVersion::from_hex(version).text() == attached.runtime.offsets.version().text();
}

std::string version_in_name(std::string_view file_name) {
  constexpr std::string_view kPython = "python";
  const std::size_t python = file_name.find(kPython);
  if (python == std::string_view::npos) return {};
  const std::string_view rest = file_name.substr(python + kPython.size());
  std::string version(rest.substr(0, rest.find_first_not_of("0123456789.")));
  // A full stop may be followed by the rest of the name, such as "so.1.0".
  while (version.ends_with('.'))
    version.pop_back();
  return version;
}

Error gone_while_read(const Process& process) {
  // A process that ends loses its memory, and so its program, before it is gone.
  const auto program = process.read_link("exe");
  if (process.ended() || (!program && program.error().kind == ErrorKind::NoSuchProcess)) {
    return {ErrorKind::NoSuchProcess,
            fmt::format("process {} ({}) ended while it was read", process.pid(), process.name()),
            ""};
  }
  return {ErrorKind::NoSuchProcess,
          fmt::format("process {} ({}) replaced its program while it was read", process.pid(),
                      process.name()),
          "try again"};
}

}  // namespace pyscope
