#include "model/origin.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <utility>

#include "base/file_name.hpp"
#include "model/standard_waits.hpp"

namespace pyscope {
namespace {

constexpr auto kPackageFolders =
    std::to_array<std::string_view>({"/site-packages/", "/dist-packages/"});

/// Where the path below `site-packages` begins; npos: the path has no such folder.
std::size_t end_of_package_folder(std::string_view file) {
  std::size_t end = std::string_view::npos;
  for (const std::string_view folder : kPackageFolders) {
    const std::size_t at = file.rfind(folder);
    if (at == std::string_view::npos) continue;
    if (end == std::string_view::npos || at + folder.size() > end) end = at + folder.size();
  }
  return end;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Where the path below the standard library's folder begins ("/usr/lib/python3.14/",
/// "/usr/lib/python314.zip/"); npos: the file isn't in there.
std::size_t end_of_library_folder(std::string_view file) {
  constexpr std::string_view kPython = "/python3";
  for (std::size_t at = file.find(kPython); at != std::string_view::npos;
       at = file.find(kPython, at + 1)) {
    std::size_t end = at + kPython.size();
    while (end < file.size() && (is_digit(file[end]) || file[end] == '.'))
      ++end;
    // Builds are told apart by a letter: python3.14d, python3.14t.
    if (end < file.size() && (file[end] == 'd' || file[end] == 't')) ++end;
    const bool archive = file.substr(end).starts_with("zip/");
    if (archive) end += 3;
    if (end >= file.size() || file[end] != '/' || end == at + kPython.size()) continue;
    const std::string_view folder = file_name(file.substr(0, at));
    if (archive || folder == "lib" || folder == "lib64") return end + 1;
  }
  return std::string_view::npos;
}

/// pip makes a script without a suffix for each entry point of a package.
bool is_script_of_package(std::string_view file) {
  const std::size_t slash = file.rfind('/');
  if (slash == std::string_view::npos || file.find('.', slash) != std::string_view::npos) {
    return false;
  }
  return file_name(file.substr(0, slash)) == "bin";
}

/// Whether `inner` is `folder` followed by a file in there.
bool lies_in(std::string_view inner, std::string_view folder) {
  return inner.size() > folder.size() && inner.starts_with(folder) && inner[folder.size()] == '/';
}

}  // namespace

Origin origin_of_file(std::string_view file) {
  if (file.starts_with("<frozen ")) return Origin::StandardLibrary;
  if (end_of_package_folder(file) != std::string_view::npos) return Origin::Package;
  if (end_of_library_folder(file) != std::string_view::npos) return Origin::StandardLibrary;
  return is_script_of_package(file) ? Origin::Package : Origin::Program;
}

std::string_view telling_path(std::string_view file) {
  std::size_t begin = end_of_package_folder(file);
  if (begin == std::string_view::npos) begin = end_of_library_folder(file);
  if (begin != std::string_view::npos) file.remove_prefix(begin);
  const std::size_t name = file.rfind('/');
  if (name == std::string_view::npos || name == 0) return file;
  const std::size_t folder = file.rfind('/', name - 1);
  return folder == std::string_view::npos ? file : file.substr(folder + 1);
}

std::string_view machinery_of(const Code& code) {
  const std::string_view file = code.file;
  if (file.starts_with("<frozen importlib")) return "import";
  if (file == "<frozen runpy>") return "runpy";
  if (is_dispatcher(code) || begins_thread(code)) {
    static constexpr auto kPackages = std::to_array<std::string_view>(
        {"asyncio", "concurrent.futures", "multiprocessing", "http.server", "wsgiref"});
    const std::string_view path = telling_path(file);
    if (path.ends_with("futures/thread.py") || path.ends_with("futures/process.py")) {
      return kPackages[1];
    }
    if (path == "http/server.py") return kPackages[3];
    for (const std::string_view package : kPackages) {
      if (lies_in(path, package)) return package;
    }
    const std::string_view name = file_name(path);
    return name.ends_with(".py") ? name.substr(0, name.size() - 3) : name;
  }
  const std::size_t begin = end_of_library_folder(file);
  if (begin == std::string_view::npos || end_of_package_folder(file) != std::string_view::npos) {
    return {};
  }
  const std::string_view inner = file.substr(begin);
  if (inner == "runpy.py") return "runpy";
  if (lies_in(inner, "importlib")) {
    static constexpr auto kImport =
        std::to_array<std::string_view>({"import_module", "_bootstrap", "reload"});
    const bool imports =
        std::find(kImport.begin(), kImport.end(), code.function) != kImport.end() ||
        inner.starts_with("importlib/_bootstrap");
    return imports ? "import" : std::string_view();
  }
  if (lies_in(inner, "multiprocessing")) {
    static constexpr auto kStarts = std::to_array<std::string_view>(
        {"multiprocessing/process.py", "multiprocessing/spawn.py", "multiprocessing/forkserver.py",
         "multiprocessing/context.py", "multiprocessing/popen_fork.py",
         "multiprocessing/popen_spawn_posix.py", "multiprocessing/popen_forkserver.py"});
    static constexpr auto kNames = std::to_array<std::string_view>(
        {"_bootstrap", "run", "start", "_Popen", "__init__", "_launch", "main", "_main",
         "spawn_main", "_serve_one", "serve_one"});
    const bool starts = std::find(kStarts.begin(), kStarts.end(), inner) != kStarts.end() &&
                        std::find(kNames.begin(), kNames.end(), code.function) != kNames.end();
    return starts ? "multiprocessing" : std::string_view();
  }
  return {};
}

bool Origins::is_own(const Frame& frame) {
  if (frame.kind != FrameKind::Python || !frame.code || *frame.code >= known_.size()) return false;
  auto& origin = known_[*frame.code];
  if (!origin) origin = origin_of_file(snapshot_.codes[*frame.code].file);
  return *origin == Origin::Program;
}

const Frame* Origins::own_frame(const Thread& thread, const Frame* from) {
  if (from == nullptr) return nullptr;
  bool reached = false;
  for (const auto* frames : {&thread.frames, &thread.outer_frames}) {
    for (const Frame& frame : *frames) {
      reached = reached || &frame == from;
      if (reached && is_own(frame)) return &frame;
    }
  }
  return from;
}

}  // namespace pyscope
