#include "locks/lock_names.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace pyscope {
namespace {

std::string_view type_of_sleep(SleepKind kind) {
  switch (kind) {
    case SleepKind::Lock:
      return "threading.Lock";
    case SleepKind::RecursiveLock:
      return "threading.RLock";
    case SleepKind::SimpleQueue:
      return "queue.SimpleQueue";
    case SleepKind::Thread:
      return "threading.Thread";
    case SleepKind::Semaphore:
      return "multiprocessing.SemLock";
  }
  return "";
}

/// Whether the code may mean the lock by this object.
bool is_meant(RemoteAddr value, const FoundLock& found) {
  return value && (value == found.at || value == found.lock);
}

}  // namespace

LockNames::Library LockNames::find_library(std::size_t thread) {
  Library library;
  const auto& stack = frames_.of(thread);
  for (std::size_t i = 0; i < stack.size(); ++i) {
    if (stack[i].is_entry()) continue;
    const CodeFacts* facts = frames_.facts_of(stack[i].executable);
    if (facts == nullptr || facts->wait == nullptr) {
      library.caller = i;
      break;
    }
    if (library.innermost == nullptr) {
      library.innermost = &stack[i];
      library.innermost_wait = facts->wait;
    }
    if (facts->wait->object.role != WaitedObject::Role::Self) continue;
    library.outermost = &stack[i];
    library.wait = facts->wait;
  }
  return library;
}

NamedLock LockNames::name(std::size_t thread, const Sleep& sleep) {
  const Library library = find_library(thread);
  NamedLock named;
  named.kind = sleep.kind;
  FoundLock& found = named.lock;
  found.lock = sleep.at;
  found.waiting_frame = library.caller;
  found.timed = frames_.threads()[thread].futex->timed;
  found.at = sleep.kind == SleepKind::Thread ? RemoteAddr{} : sleep.at;
  found.type = type_of_sleep(sleep.kind);
  if (library.wait != nullptr) {
    if (const RemoteAddr self = frames_.variable(*library.outermost, "self")) {
      found.at = self;
      found.type = label_of(self, library.wait->object.type);
    }
  }
  if (sleep.kind == SleepKind::SimpleQueue) {
    found.held = Held::NotALock;
  } else if (library.innermost != nullptr && !library.innermost_wait->object.waiter.empty() &&
             frames_.variable(*library.innermost, library.innermost_wait->object.waiter) ==
                 sleep.at) {
    found.held = Held::NotALock;
  }
  if (library.wait != nullptr && !library.wait->object.name.empty()) {
    const RemoteAddr name = instance_attribute(reader_, found.at, library.wait->object.name);
    if (name) found.name = read_str(reader_, name).value_or("");
  } else if (library.caller) {
    find_name(thread, *library.caller, sleep, found);
  }
  if (library.wait != nullptr && !library.wait->object.owner.empty()) {
    named.owner = instance_attribute(reader_, found.at, library.wait->object.owner);
  }
  return named;
}

/// The module of a class; empty if it can't be read.
const std::string& LockNames::module_of(RemoteAddr type) {
  const auto [known, fresh] = modules_of_types_.try_emplace(type.raw());
  if (fresh) {
    const RemoteAddr module = namespaces_.objects().class_attribute(type, "__module__");
    if (module) known->second = read_str(reader_, module).value_or("");
  }
  return known->second;
}

/// The class of an object of the standard library, "queue.LifoQueue"; or `type`, as the table of
/// waits has it, for an object whose class belongs to the program.
std::string LockNames::label_of(RemoteAddr object, std::string_view type) {
  const std::size_t dot = type.rfind('.');
  const auto at = reader_.type_of(object);
  if (dot == std::string_view::npos || !at || !*at) return std::string(type);
  const std::string& name = module_of(*at);
  // Of the package itself or of one of its modules: multiprocessing.synchronize.
  const std::string_view package = type.substr(0, dot);
  if (!name.starts_with(package) || (name.size() > package.size() && name[package.size()] != '.')) {
    return std::string(type);
  }
  const std::string own = reader_.type_name(*at).value_or("");
  return own.empty() ? std::string(type) : fmt::format("{}.{}", package, own);
}

/// Whether an object of the standard library has the lock inside, and so may be how the program
/// knows the lock: a Condition whose acquire() was called is the lock's own, and a lock of
/// multiprocessing has its semaphore inside.
bool LockNames::is_around(RemoteAddr value, const Sleep& sleep) const {
  const std::string type = type_name_of(reader_, value);
  if (sleep.kind == SleepKind::Semaphore) {
    static constexpr auto kTypes =
        std::to_array<std::string_view>({"Lock", "RLock", "Semaphore", "BoundedSemaphore"});
    return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end() &&
           instance_attribute(reader_, value, "_semlock") == sleep.at;
  }
  if (type == "Condition") return instance_attribute(reader_, value, "_lock") == sleep.at;
  return type.ends_with("Queue") && instance_attribute(reader_, value, "mutex") == sleep.at;
}

void LockNames::find_name(std::size_t thread, std::size_t first, const Sleep& sleep,
                          FoundLock& found) {
  const auto& stack = frames_.of(thread);
  constexpr std::size_t kMostFrames = 4;
  const auto by_identity = [&](RemoteAddr value) { return is_meant(value, found); };
  const auto by_content = [&](RemoteAddr value) {
    if (!is_around(value, sleep)) return false;
    if (sleep.kind == SleepKind::Semaphore && found.at == sleep.at) {
      found.at = value;
      found.type = label_of(value, "multiprocessing.Lock");
    }
    return true;
  };
  std::size_t n = 0;
  for (std::size_t i = first; i < stack.size() && n < kMostFrames; ++i) {
    if (stack[i].is_entry()) continue;
    ++n;
    // No program has a name for the semaphore in a lock of multiprocessing.
    const bool inner = sleep.kind == SleepKind::Semaphore && found.at == sleep.at;
    if (inner && name_in_frame(stack[i], found, by_content)) return;
    if (name_in_frame(stack[i], found, by_identity)) return;
    if (n == 1 && !inner && name_in_frame(stack[i], found, by_content)) return;
  }
}

template <class Matches>
bool LockNames::name_among_attributes(RemoteAddr object, std::string_view variable,
                                      FoundLock& found, const Matches& matches) {
  const auto take = [&](std::string_view name) {
    found.name = fmt::format("{}.{}", variable, name);
    found.owner_object = fmt::format("<{} at {:#x}>", type_name_of(reader_, object), object.raw());
    return true;
  };
  for (const auto& [key, value] : namespaces_.attributes(object)) {
    if (matches(value)) return take(namespaces_.key_text(key));
  }
  for (const auto& [name, value] : namespaces_.slots(object)) {
    if (matches(value)) return take(name);
  }
  return false;
}

/// First the names that say most: an attribute of `self`, of its class, a global; then other
/// variables.
template <class Matches>
bool LockNames::name_in_frame(const RawFrame& frame, FoundLock& found, const Matches& matches) {
  const CodeFacts* facts = frames_.facts_of(frame.executable);
  if (facts == nullptr) return false;
  const std::size_t count = std::min<std::size_t>(facts->slots, facts->slot_names.size());
  const auto is_other = [&](std::size_t i) {
    return !facts->slot_names[i].empty() && facts->slot_names[i] != "self";
  };
  if (const RemoteAddr self = frames_.variable(frame, "self")) {
    if (name_among_attributes(self, "self", found, matches)) return true;
    if (name_in_class(self, found)) return true;
  }
  const RemoteAddr globals = frames_.globals(frame);
  if (globals && name_in_module(globals, found)) return true;
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_other(i) || !matches(frames_.variable(frame.at, i))) continue;
    found.name = facts->slot_names[i];
    return true;
  }
  // An attribute of a variable.
  constexpr std::size_t kMostVariables = 32;
  for (std::size_t i = 0; i < std::min(count, kMostVariables); ++i) {
    if (!is_other(i)) continue;
    const RemoteAddr value = frames_.variable(frame.at, i);
    if (value && name_among_attributes(value, facts->slot_names[i], found, matches)) return true;
  }
  return globals && name_in_imported_module(globals, found);
}

bool LockNames::name_in_class(RemoteAddr object, FoundLock& found) {
  constexpr int kMostBases = 8;
  RemoteAddr type = reader_.type_of(object).value_or(RemoteAddr{});
  for (int i = 0; type && i < kMostBases; ++i) {
    if ((reader_.type_flags(type).value_or(0) & kTypeHeap) == 0) return false;
    if (const RemoteAddr dict = namespaces_.objects().class_dict(type)) {
      if (const std::string name = name_in_namespace(dict, found); !name.empty()) {
        found.name = fmt::format("{}.{}", reader_.type_name(type).value_or("?"), name);
        return true;
      }
    }
    type = reader_.pointer(type, Field::TypeTpBase).value_or(RemoteAddr{});
  }
  return false;
}

/// Empty if the namespace has no name for the lock.
std::string LockNames::name_in_namespace(RemoteAddr dict, const FoundLock& found) {
  for (const RemoteAddr object : {found.at, found.lock}) {
    if (!object) continue;
    if (const RemoteAddr key = namespaces_.key_of(dict, object)) return namespaces_.key_text(key);
  }
  return {};
}

bool LockNames::name_in_module(RemoteAddr globals, FoundLock& found) {
  const std::string name = name_in_namespace(globals, found);
  if (name.empty()) return false;
  const RemoteAddr module = dict_item(reader_, globals, "__name__").value_or(RemoteAddr{});
  const std::string module_name = module ? read_str(reader_, module).value_or("") : std::string{};
  found.name = module_name.empty() ? name : fmt::format("{}.{}", module_name, name);
  return true;
}

bool LockNames::name_in_imported_module(RemoteAddr globals, FoundLock& found) {
  const auto& modules = namespaces_.modules_in(globals);
  return std::any_of(modules.begin(), modules.end(),
                     [&](RemoteAddr dict) { return name_in_module(dict, found); });
}

}  // namespace pyscope
