#include "locks/with_statements.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "frames/generator.hpp"
#include "locks/namespaces.hpp"
#include "locks/waited_objects.hpp"
#include "model/standard_waits.hpp"
#include "python/objects.hpp"

namespace pyscope {
namespace {

struct WithBlock {
  std::uint64_t depth = 0;    // of the evaluation stack, with what the statement keeps there
  std::uint64_t handler = 0;  // code unit of its clean-up, which has the statement's position
};

/// The `with` statements that a code unit is in, the innermost first.
std::vector<WithBlock> with_blocks(const CodeFacts& facts, std::uint64_t unit) {
  std::vector<WithBlock> blocks;
  for (const std::size_t index : handlers_around(facts.exception_table, unit)) {
    const ExceptionEntry& entry = facts.exception_table[index];
    if (!facts.ends_with[index] || entry.depth == 0 || entry.depth > facts.stack_size) continue;
    blocks.push_back({entry.depth, entry.handler});
  }
  return blocks;
}

bool is_lock(const std::string& c_type) {
  return c_type == "_thread.lock" || c_type == "_thread.RLock";
}

}  // namespace

const std::vector<ContextManager>& WithStatements::of_lock(RemoteAddr lock) {
  if (!by_lock_) {
    by_lock_.emplace();
    for (ContextManager& manager : find_all()) {
      find_lock(manager);
      if (manager.certain && names_release(manager)) manager.certain = false;
      if (!is_given_back(manager)) (*by_lock_)[manager.lock.raw()].push_back(manager);
    }
  }
  return (*by_lock_)[lock.raw()];
}

bool WithStatements::is_in_one(std::size_t thread, std::size_t frame) {
  const RawFrame& raw = frames_.of(thread)[frame];
  const CodeFacts* facts = frames_.facts_of(raw.executable);
  if (facts == nullptr || !facts->has_with) return false;
  for (const auto& [object, handler] : entered_by(raw.at, raw.executable, *facts)) {
    ContextManager manager{thread, frame, handler, object, object, false};
    find_lock(manager);
    if (manager.lock != manager.at || manager.certain) {
      if (!is_given_back(manager)) return true;
    }
  }
  return false;
}

std::vector<RemoteAddr> WithStatements::entered_in(const RawFrame& frame) {
  constexpr std::size_t kMostObjects = 64;
  std::vector<RemoteAddr> objects;
  const CodeFacts* facts = frames_.facts_of(frame.executable);
  if (facts == nullptr || !facts->has_with) return objects;
  for (const auto& [object, handler] : entered_by(frame.at, frame.executable, *facts))
    objects.push_back(object);
  for (std::size_t i = 0; i < objects.size() && objects.size() < kMostObjects; ++i) {
    const std::string type = type_name_of(reader_, objects[i]);
    if (type == "_GeneratorContextManager" || type == "_AsyncGeneratorContextManager") {
      for (const auto& [object, handler] :
           entered_by_generator(instance_attribute(reader_, objects[i], "gen")))
        objects.push_back(object);
    } else {
      const auto inner = entered_by_exit_stack(objects[i]);
      objects.insert(objects.end(), inner.begin(), inner.end());
    }
  }
  return objects;
}

std::vector<ContextManager> WithStatements::find_all() {
  struct Place {
    std::size_t thread;
    std::size_t frame;
    const CodeFacts* facts;
  };
  std::vector<Place> places;
  std::vector<RemoteRange> ranges;
  for (std::size_t t = 0; t < frames_.threads().size(); ++t) {
    const auto& stack = frames_.of(t);
    for (std::size_t f = 0; f < stack.size(); ++f) {
      if (stack[f].is_entry()) continue;
      const CodeFacts* facts = frames_.facts_of(stack[f].executable);
      if (facts == nullptr || !facts->has_with) continue;
      places.push_back({t, f, facts});
      ranges.push_back(frames_.slots_range(stack[f].at, *facts));
    }
  }
  reader_.memory().fetch(ranges);
  std::vector<ContextManager> all;
  std::vector<RemoteAddr> objects;
  for (const Place& place : places) {
    const RawFrame& frame = frames_.of(place.thread)[place.frame];
    const auto add = [&](RemoteAddr manager, std::uint64_t handler) {
      all.push_back({place.thread, place.frame, handler, manager, manager, false});
      objects.push_back(manager);
    };
    for (const auto& [manager, handler] : entered_by(frame.at, frame.executable, *place.facts)) {
      add(manager, handler);
      for (const RemoteAddr inner : entered_by_exit_stack(manager))
        add(inner, handler);
    }
  }
  prefetch_instances(reader_, objects);
  return all;
}

/// The objects whose `with` statements a frame is in, if it runs this code. From one copy of the
/// frame, its instruction together with its slots: a frame that was left meanwhile has the
/// instruction at which it was left, and that is in none of the statements.
std::vector<WithStatements::Entered> WithStatements::entered_by(RemoteAddr at, RemoteAddr code,
                                                                const CodeFacts& facts) const {
  std::vector<Entered> entered;
  const auto frame = read_frame(reader_.memory(), reader_.offsets(), at);
  if (!frame || frame->executable != code) return entered;
  const auto unit = unit_of(reader_.offsets(), code, facts.units, frame->instruction);
  if (!unit) return entered;
  for (const WithBlock& block : with_blocks(facts, *unit)) {
    const RemoteAddr top = frames_.slot(frame->at, facts.slots + block.depth - 1);
    RemoteAddr manager = top;
    if (reader_.layout().with_keeps_bound_exit) {
      manager = bound_self(reader_, top);
    } else if (!top && block.depth >= 2) {
      // The slot of the object is empty where the function was bound already.
      manager = bound_self(reader_, frames_.slot(frame->at, facts.slots + block.depth - 2));
    }
    if (manager) entered.emplace_back(manager, block.handler);
  }
  return entered;
}

std::vector<WithStatements::Entered> WithStatements::entered_by_generator(RemoteAddr generator) {
  const std::string type = c_type_name_of(reader_, generator);
  if (type != "generator" && type != "async_generator") return {};
  const auto state = read_generator(reader_, generator);
  if (!state || !state->stack.current_frame) return {};
  const RemoteAddr at = state->stack.current_frame;
  const auto frame = read_frame(reader_.memory(), reader_.offsets(), at);
  if (!frame) return {};
  const CodeFacts* facts = frames_.facts_of(frame->executable);
  if (facts == nullptr || !facts->has_with) return {};
  return entered_by(at, frame->executable, *facts);
}

/// The objects that were entered by contextlib.ExitStack.enter_context(), or by that of an
/// AsyncExitStack: the stack keeps the bound __exit__ of each.
std::vector<RemoteAddr> WithStatements::entered_by_exit_stack(RemoteAddr stack) const {
  // Bound: callbacks of an `ExitStack`
  constexpr std::size_t kMostCallbacks = 256;
  constexpr std::uint64_t kPairSize = 2;
  const std::string type = type_name_of(reader_, stack);
  if (type != "ExitStack" && type != "AsyncExitStack") return {};
  const RemoteAddr callbacks = instance_attribute(reader_, stack, "_exit_callbacks");
  if (c_type_name_of(reader_, callbacks) != "collections.deque") return {};
  std::vector<RemoteAddr> entered;
  for (const RemoteAddr pair : read_deque(reader_, callbacks, kMostCallbacks)) {
    // (is_sync, callback)
    if (c_type_name_of(reader_, pair) != "tuple") continue;
    const auto size = reader_.field<std::uint64_t>(pair, Field::TupleObSize);
    if (!size || *size != kPairSize) continue;
    const auto exit =
        reader_.pointer(pair, reader_.offsets()[Field::TupleObItem] + sizeof(std::uint64_t));
    if (!exit) continue;
    if (const RemoteAddr object = bound_self(reader_, *exit)) entered.push_back(object);
  }
  return entered;
}

/// What the `__enter__` of an object's class does: whether it names the attribute `_lock` and a
/// method that takes it, and whether it is that of threading.Condition.
WithStatements::EnterMethod WithStatements::find_enter(RemoteAddr object) const {
  ObjectReader objects(reader_);
  const auto type = objects.type_of(object);
  if (!type) return {};
  for (const RemoteAddr base : (*type)->mro) {
    const RemoteAddr function = objects.class_attribute(base, "__enter__");
    if (!function) continue;
    if (c_type_name_of(reader_, function) != "function") return {};
    const auto code = reader_.pointer(function, Field::FunctionCode);
    if (!code || !*code) return {};
    const auto names_at = reader_.pointer(*code, Field::CodeNames);
    if (!names_at || !*names_at) return {};
    const std::vector<std::string> names = read_names(reader_, *names_at);
    const auto has = [&](std::string_view name) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    EnterMethod enter;
    enter.takes_lock = has("_lock") && (has("acquire") || has("__enter__"));
    const auto file = reader_.pointer(*code, Field::CodeFilename);
    const auto name = reader_.pointer(*code, Field::CodeQualname);
    if (file && name) {
      Code identity;
      identity.file = objects.text_of(*file);
      identity.qualified_name = objects.text_of(*name);
      enter.of_condition = is_function(identity, "threading.py", "Condition.__enter__");
    }
    return enter;
  }
  return {};
}

void WithStatements::find_lock(ContextManager& manager) {
  // The `with` statement of a generator may itself be of a generator's object.
  constexpr int kMostNested = 4;
  RemoteAddr object = manager.at;
  for (int i = 0; i < kMostNested; ++i) {
    if (is_lock(c_type_name_of(reader_, object))) {
      manager.lock = object;
      manager.certain = true;
      return;
    }
    const std::string type = type_name_of(reader_, object);
    if (type == "_GeneratorContextManager") {
      // contextlib.contextmanager: the generator stands at its yield.
      const auto inner = entered_by_generator(instance_attribute(reader_, object, "gen"));
      if (inner.empty()) return;
      object = inner.front().first;
      continue;
    }
    const RemoteAddr lock = instance_attribute(reader_, object, "_lock");
    if (!is_lock(c_type_name_of(reader_, lock))) return;
    const EnterMethod enter = find_enter(object);
    if (!enter.takes_lock) return;
    manager.lock = lock;
    manager.certain = enter.of_condition;
    return;
  }
}

/// A function that is in a `with` statement of a lock may give the lock back by hand for a while.
/// One that doesn't name `release` doesn't do so itself.
bool WithStatements::names_release(const ContextManager& manager) const {
  const RemoteAddr code = frames_.of(manager.thread)[manager.frame].executable;
  const auto names_at = reader_.pointer(code, Field::CodeNames);
  if (!names_at || !*names_at) return false;
  const std::vector<std::string> names = read_names(reader_, *names_at);
  return std::find(names.begin(), names.end(), "release") != names.end();
}

/// Condition.wait() gives the lock back while the caller's `with` statement goes on.
bool WithStatements::is_given_back(const ContextManager& manager) {
  const auto& stack = frames_.of(manager.thread);
  constexpr std::size_t kInnermost = 3;
  std::size_t n = 0;
  for (std::size_t i = 0; i < manager.frame && n < kInnermost; ++i) {
    if (stack[i].is_entry()) continue;
    ++n;
    const CodeFacts* facts = frames_.facts_of(stack[i].executable);
    if (facts == nullptr || facts->wait == nullptr || facts->wait->object.waiter.empty()) continue;
    const RemoteAddr condition = frames_.variable(stack[i], "self");
    if (condition == manager.at ||
        instance_attribute(reader_, condition, "_lock") == manager.lock) {
      return true;
    }
  }
  return false;
}

}  // namespace pyscope
