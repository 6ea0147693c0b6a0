#include "locks/futures.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "locks/waited_objects.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kItemSize = 8;

RemoteAddr slot_named(Namespaces& namespaces, RemoteAddr object, std::string_view name) {
  for (const auto& [slot, value] : namespaces.slots(object)) {
    if (slot == name) return value;
  }
  return {};
}

}  // namespace

void Futures::find_servers(FoundLock& found) {
  const RemoteAddr text = instance_attribute(reader_, found.at, "_state");
  const std::string state = text ? read_str(reader_, text).value_or("") : std::string{};
  if (state != "PENDING" && state != "RUNNING") return;
  if (!looked_) look_at_threads();
  looked_ = true;
  const auto serve = [&](std::vector<std::size_t> servers, bool all) {
    found.servers = std::move(servers);
    found.binding = all && !found.timed;
  };
  if (const auto thread = runs_.find(found.at.raw()); thread != runs_.end()) {
    found.detail = "running";
    serve({thread->second}, true);
    return;
  }
  for (const Pool& pool : pools_) {
    const auto place = std::find(pool.queued.begin(), pool.queued.end(), found.at);
    if (place == pool.queued.end()) continue;
    const auto before = place - pool.queued.begin();
    const std::string behind =
        before == 0 ? std::string{}
                    : fmt::format(" behind {} other{}", before, before == 1 ? "" : "s");
    found.detail = fmt::format("queued{} in a ThreadPoolExecutor of {} thread{}", behind,
                               pool.workers.size(), pool.workers.size() == 1 ? "" : "s");
    serve(pool.workers, pool.workers.size() == pool.most_workers);
    return;
  }
  for (const EventLoop& loop : loops_) {
    if (!is_run_by(loop, found.at)) continue;
    found.detail = "of a coroutine in an event loop";
    serve({loop.thread}, true);
    return;
  }
  found.detail = state == "PENDING" ? "pending" : "running";
}

Futures::Part Futures::part_of(RemoteAddr code) const {
  if (!frames_.codes().knows(code)) return Part::None;
  const Code& known = frames_.codes().at(code).code;
  if (is_function(known, "concurrent/futures/thread.py", "_WorkItem.run")) return Part::WorkItem;
  if (is_function(known, "concurrent/futures/thread.py", "_worker")) return Part::Worker;
  if (is_function(known, "asyncio/base_events.py", "BaseEventLoop.run_forever"))
    return Part::EventLoop;
  return Part::None;
}

void Futures::look_at_threads() {
  std::unordered_map<std::uint64_t, Part> parts;
  for (std::size_t t = 0; t < frames_.threads().size(); ++t) {
    for (const RawFrame& frame : frames_.of(t)) {
      if (frame.is_entry()) continue;
      const auto [known, fresh] = parts.try_emplace(frame.executable.raw());
      if (fresh) known->second = part_of(frame.executable);
      switch (known->second) {
        case Part::None:
          break;
        case Part::WorkItem:
          if (const RemoteAddr future =
                  instance_attribute(reader_, frames_.variable(frame, "self"), "future")) {
            runs_.emplace(future.raw(), t);
          }
          break;
        case Part::Worker:
          add_worker(t, frame);
          break;
        case Part::EventLoop:
          if (const RemoteAddr loop = frames_.variable(frame, "self")) loops_.push_back({loop, t});
          break;
      }
    }
  }
  for (Pool& pool : pools_)
    read_queue(pool);
}

void Futures::add_worker(std::size_t thread, const RawFrame& frame) {
  const RemoteAddr queue = frames_.variable(frame, "work_queue");
  if (!queue) return;
  auto pool = std::find_if(pools_.begin(), pools_.end(),
                           [&](const Pool& known) { return known.queue == queue; });
  if (pool == pools_.end()) {
    pool = pools_.insert(pools_.end(), Pool{});
    pool->queue = queue;
    const RemoteAddr reference = frames_.variable(frame, "executor_reference");
    if (c_type_name_of(reader_, reference) == "weakref.ReferenceType") {
      const auto executor = reader_.pointer(reference, Field::WeakRefWrObject);
      const RemoteAddr most =
          executor ? instance_attribute(reader_, *executor, "_max_workers") : RemoteAddr{};
      if (most) pool->most_workers = read_unsigned(reader_, most).value_or(0);
    }
  }
  pool->workers.push_back(thread);
}

/// The futures of the calls that no worker has taken yet, in their order.
void Futures::read_queue(Pool& pool) const {
  // Bound: calls in an executor's queue
  constexpr std::uint64_t kMostItems = 10'000;
  if (c_type_name_of(reader_, pool.queue) != "_queue.SimpleQueue") return;
  if (!reader_.offsets().has(Field::SimpleQueueItems)) return;
  const auto items = reader_.pointer(pool.queue, Field::SimpleQueueItems);
  const auto first = reader_.field<std::uint64_t>(pool.queue, Field::SimpleQueueGetIdx);
  const auto room = reader_.field<std::uint64_t>(pool.queue, Field::SimpleQueueItemsCap);
  const auto count = reader_.field<std::uint64_t>(pool.queue, Field::SimpleQueueNumItems);
  if (!items || !*items || !first || !room || !count || *room == 0 || *first >= *room ||
      *count > *room) {
    return;
  }
  for (std::uint64_t i = 0; i < std::min(*count, kMostItems); ++i) {
    const auto item = reader_.pointer(*items, kItemSize * ((*first + i) % *room));
    if (!item) return;
    const RemoteAddr future = instance_attribute(reader_, *item, "future");
    if (future) pool.queued.push_back(future);
  }
}

/// asyncio.run_coroutine_threadsafe() leaves a callback for the loop that has the future, and then
/// the future has a callback that has the loop.
bool Futures::is_run_by(const EventLoop& loop, RemoteAddr future) {
  constexpr std::size_t kMostCallbacks = 1000;
  const RemoteAddr callbacks = instance_attribute(reader_, future, "_done_callbacks");
  if (c_type_name_of(reader_, callbacks) == "list") {
    const auto count = reader_.field<std::uint64_t>(callbacks, Field::VarObjectObSize);
    const auto items = reader_.pointer(callbacks, Field::ListObItem);
    for (std::uint64_t i = 0; count && items && i < std::min<std::uint64_t>(*count, 8); ++i) {
      const auto callback = reader_.pointer(*items, kItemSize * i);
      if (callback && closes_over(*callback, loop.loop)) return true;
    }
  }
  const RemoteAddr ready = instance_attribute(reader_, loop.loop, "_ready");
  if (c_type_name_of(reader_, ready) != "collections.deque") return false;
  const auto handles = read_deque(reader_, ready, kMostCallbacks);
  return std::any_of(handles.begin(), handles.end(), [&](RemoteAddr handle) {
    return closes_over(slot_named(namespaces_, handle, "_callback"), future);
  });
}

/// Whether a function has the object in one of its cells.
bool Futures::closes_over(RemoteAddr function, RemoteAddr value) const {
  constexpr std::uint64_t kMostCells = 16;
  if (c_type_name_of(reader_, function) != "function") return false;
  const auto cells = reader_.pointer(function, Field::FunctionClosure);
  if (!cells || !*cells) return false;
  const auto count = reader_.field<std::uint64_t>(*cells, Field::TupleObSize);
  for (std::uint64_t i = 0; count && i < std::min(*count, kMostCells); ++i) {
    const auto cell =
        reader_.pointer(*cells, reader_.offsets()[Field::TupleObItem] + kItemSize * i);
    if (!cell || !*cell) continue;
    const auto held = reader_.pointer(*cell, Field::CellObRef);
    if (held && *held == value) return true;
  }
  return false;
}

}  // namespace pyscope
