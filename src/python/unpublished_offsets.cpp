#include "python/unpublished_offsets.hpp"

#include <fmt/core.h>

#include "memory/page_cache.hpp"
#include "python/reader.hpp"
#include "structures/layouts.hpp"

namespace pyscope {
namespace {

/// The name of an object's type; empty if that is no type.
std::string type_name_at(const Reader& reader, RemoteAddr object) {
  if (!object.is_plausible_pointer()) return {};
  const auto type = reader.type_of(object);
  if (!type || !*type) return {};
  const auto metatype = reader.type_of(*type);
  if (!metatype || !*metatype || reader.type_name(*metatype).value_or("") != "type") return {};
  return reader.type_name(*type).value_or("");
}

tl::unexpected<Error> does_not_fit(const std::string& why) {
  return fail(ErrorKind::Malformed, why);
}

/// Follows the list of interpreters, which ends with the main one.
Result<void> check_interpreters(const Reader& reader, RemoteAddr runtime, RemoteAddr main) {
  constexpr int kMostInterpreters = 4096;
  auto at = reader.pointer(runtime, Field::RuntimeInterpretersHead);
  RemoteAddr last;
  for (int i = 0; at && *at; ++i) {
    if (i == kMostInterpreters) return does_not_fit("the list of interpreters has no end");
    last = *at;
    at = reader.pointer(last, Field::InterpreterNext);
  }
  if (!at) return fail(at.error());
  if (last != main) {
    return does_not_fit("the list of interpreters does not end with the main one");
  }
  return {};
}

/// The newest thread state of an interpreter must belong to the interpreter.
Result<void> check_thread(const Reader& reader, RemoteAddr interpreter) {
  const auto thread = reader.pointer(interpreter, Field::InterpreterThreadsHead);
  if (!thread) return fail(thread.error());
  if (!*thread) return {};
  const auto back = reader.pointer(*thread, Field::ThreadInterp);
  if (!back) return fail(back.error());
  if (*back != interpreter) return does_not_fit("its thread states belong to no interpreter");
  return {};
}

/// Whether all is where these offsets say; then what the interpreter says of its own version.
Result<PythonVersion> check_runtime(const Memory& memory, RemoteAddr runtime,
                                    const DebugOffsets& offsets) {
  Budget budget;
  const TargetMemory target(memory, budget);
  const PageCache cache(target);
  const Reader reader(cache, offsets);
  const auto main = reader.pointer(runtime, Field::RuntimeInterpretersMain);
  if (!main) return fail("the runtime's state", main.error());
  if (!*main) return fail(ErrorKind::Unsupported, "no interpreter is running");
  const auto back = reader.pointer(*main, Field::InterpreterRuntime);
  if (!back) return fail("the main interpreter", back.error());
  if (*back != runtime) return does_not_fit("the main interpreter belongs to no runtime");
  const auto id = reader.field<std::int64_t>(*main, Field::InterpreterId);
  if (!id) return fail("the main interpreter", id.error());
  if (*id != 0) return does_not_fit("the main interpreter has another number than 0");
  if (auto ok = check_interpreters(reader, runtime, *main); !ok) return fail(std::move(ok).error());
  if (auto ok = check_thread(reader, *main); !ok) return fail(std::move(ok).error());
  const auto modules = reader.pointer(*main, Field::InterpreterImportsModules);
  const auto sys_dict = reader.pointer(*main, Field::InterpreterSysdict);
  if (!modules || !sys_dict) return does_not_fit("the main interpreter has no modules");
  if (type_name_at(reader, *modules) != "dict" || type_name_at(reader, *sys_dict) != "dict") {
    // Builds with Py_TRACE_REFS have two more words in front of each object.
    return does_not_fit("its objects have another header, or its modules are elsewhere");
  }
  const auto sys = dict_item(reader, *modules, "sys");
  if (!sys || type_name_at(reader, *sys) != "module" ||
      reader.pointer(*sys, Field::ModuleMdDict).value_or(RemoteAddr{}) != *sys_dict) {
    return does_not_fit("its module sys is not among its modules");
  }
  const auto hex = dict_item(reader, *sys_dict, "hexversion");
  if (!hex || type_name_at(reader, *hex) != "int") return does_not_fit("it has no sys.hexversion");
  const auto number = read_unsigned(reader, *hex);
  if (!number || *number > UINT32_MAX) return does_not_fit("its sys.hexversion is no version");
  return PythonVersion::from_hex(static_cast<std::uint32_t>(*number));
}

Result<DebugOffsets> identify_as(const Memory& memory, RemoteAddr runtime,
                                 const PythonLayout& layout) {
  PythonVersion any_micro;
  any_micro.major = 3;
  any_micro.minor = layout.minor;
  any_micro.level = 0xF;
  const auto offsets = DebugOffsets::built_in(any_micro);
  if (!offsets) return fail(offsets.error());
  const auto version = check_runtime(memory, runtime, *offsets);
  if (!version) return fail(version.error());
  if (version->major != 3 || version->minor != layout.minor) {
    return does_not_fit(fmt::format("it has the structures of 3.{}, and says that it is {}",
                                    layout.minor, version->text()));
  }
  return DebugOffsets::built_in(*version);
}

}  // namespace

Result<DebugOffsets> identify_runtime(const Memory& memory, RemoteAddr runtime,
                                      const std::optional<PythonVersion>& expected) {
  Error last{ErrorKind::Malformed, "pyscope has no structures for it", ""};
  for (const PythonLayout* layout : kLayouts) {
    if (!layout->fields.empty() || layout->free_threaded) continue;
    if (expected && expected->minor != layout->minor) continue;
    auto offsets = identify_as(memory, runtime, *layout);
    if (!offsets) {
      last = offsets.error();
      continue;
    }
    if (expected && expected->text() != offsets->version().text()) {
      return does_not_fit(fmt::format("its Py_Version is {}, and its sys.hexversion that of {}",
                                      expected->text(), offsets->version().text()));
    }
    return offsets;
  }
  return fail(std::move(last));
}

bool is_same_runtime(const Memory& memory, RemoteAddr runtime, const DebugOffsets& offsets) {
  const auto main =
      read_as<std::uint64_t>(memory, runtime, offsets[Field::RuntimeInterpretersMain]);
  if (!main) return false;
  if (*main == 0) return true;  // it has shut down
  const auto back =
      read_as<std::uint64_t>(memory, RemoteAddr{*main}, offsets[Field::InterpreterRuntime]);
  return back && RemoteAddr{*back} == runtime;
}

}  // namespace pyscope
