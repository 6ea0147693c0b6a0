#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "pyscope/render.hpp"
#include "unit/format_snapshot.hpp"

using namespace pyscope;
using namespace pyscope::test;
using nlohmann::json;

namespace {

std::string text_of(const Snapshot& snapshot, Grouping grouping = Grouping::Automatic) {
  return render_text(snapshot, {.grouping = grouping});
}

LockWait make_lock(Held held, pid_t held_by = 0) {
  LockWait lock;
  lock.type = "threading.Lock";
  lock.address = 0x7f5f8c025110;
  lock.name = "self.lock";
  lock.owner_object = "<Inventory at 0x7f5f8c4bdc50>";
  lock.held = held;
  lock.held_by = held_by;
  if (held_by != 0) lock.holder_name = "stock-sync";
  return lock;
}

Thread blocked(Snapshot& snapshot, pid_t tid, std::string name, LockWait lock) {
  Thread thread = make_thread(tid, std::move(name), ThreadState::Blocked);
  thread.system_call = SYS_futex;
  thread.lock = std::move(lock);
  thread.frames = {add_frame(snapshot, "Inventory.reserve", "/srv/shop/service.py", 40)};
  return thread;
}

/// The heading of the only thread, in its parentheses.
std::string words_of(const LockWait& lock) {
  Snapshot snapshot = make_snapshot();
  snapshot.threads.push_back(blocked(snapshot, 20440, "checkout-1", lock));
  const std::string text = text_of(snapshot);
  const std::string start = "\nThread 20440 \"checkout-1\" (";
  const auto at = text.find(start);
  REQUIRE(at != std::string::npos);
  const auto end = text.find(")\n", at);
  return text.substr(at + start.size(), end - at - start.size());
}

Snapshot deadlocked() {
  Snapshot snapshot = make_snapshot();
  LockWait first = make_lock(Held::ByThread, 20439);
  first.waits_in = add_code(snapshot, "Inventory.reserve", "/srv/shop/service.py");
  first.waits_at = 40;
  first.taken_in = add_code(snapshot, "Inventory.refresh", "/srv/shop/service.py");
  first.taken_at = 36;
  LockWait second = make_lock(Held::ByThread, 20440);
  second.type = "threading.RLock";
  second.name = "orders.LOCK";
  second.owner_object.clear();
  second.holder_name = "checkout-1";
  second.waits_in = first.taken_in;
  second.waits_at = 37;
  snapshot.deadlocks = {{{{20440, "checkout-1", first}, {20439, "stock-sync", second}}}};
  return snapshot;
}

}  // namespace

TEST_CASE("a thread's heading says what it waits for and who has it", "[format]") {
  const std::string object =
      "threading.Lock 0x7f5f8c025110 \"self.lock\" of <Inventory at 0x7f5f8c4bdc50>";
  CHECK(words_of(make_lock(Held::ByThread, 20439)) ==
        "blocked, waiting for " + object + ", held by 20439 \"stock-sync\"");
  CHECK(words_of(make_lock(Held::ByThread, 20440)) ==
        "blocked, waiting for " + object + ", which it holds itself");
  CHECK(words_of(make_lock(Held::LastSeen, 20439)) ==
        "blocked, waiting for " + object + ", last seen in 20439 \"stock-sync\"");
  CHECK(words_of(make_lock(Held::ByNobodyFound)) ==
        "blocked, waiting for " + object + ", which no thread is seen to hold");
  CHECK(words_of(make_lock(Held::Unknown)) == "blocked, waiting for " + object);
  LockWait timed = make_lock(Held::Unknown);
  timed.timed = true;
  CHECK(words_of(timed) == "blocked, waiting for " + object + ", with a timeout");

  LockWait nameless = make_lock(Held::Unknown);
  nameless.name.clear();
  nameless.owner_object.clear();
  CHECK(words_of(nameless) == "blocked, waiting for threading.Lock 0x7f5f8c025110");
  LockWait import_lock = make_lock(Held::ByThread, 20439);
  import_lock.type = "import lock";
  import_lock.name = "shop.orders";
  CHECK(words_of(import_lock) ==
        "blocked, waiting for the import lock of \"shop.orders\", held by 20439 \"stock-sync\"");
  LockWait join = make_lock(Held::ByThread, 20439);
  join.type = "threading.Thread";
  CHECK(words_of(join) == "blocked, waiting for thread 20439 \"stock-sync\" to end");
}

TEST_CASE("text of locks is escaped", "[format]") {
  LockWait lock = make_lock(Held::ByThread, 20439);
  lock.type = "threading.\x1b[2J";
  lock.name = "self.\u202e\n";
  lock.owner_object = "<\x1b]0;x\x07>";
  lock.holder_name = "\x1b[31m";
  const std::string words = words_of(lock);
  CHECK(words.find('\x1b') == std::string::npos);
  CHECK(words.find("\\x1b[2J") != std::string::npos);
  CHECK(words.find("self.\\u202e\\x0a") != std::string::npos);
  CHECK(words.find("held by 20439 \"\\x1b[31m\"") != std::string::npos);
  Snapshot snapshot = make_snapshot();
  lock.waits_in = add_code(snapshot, "f\x1b", "/a\x1b.py");
  lock.taken_in = lock.waits_in;
  snapshot.deadlocks = {{{{1, "\x1b", lock}}}};
  CHECK(text_of(snapshot).find('\x1b') == std::string::npos);
  // An index that there isn't costs no more than the place.
  snapshot.deadlocks[0].cycle[0].lock.taken_in = 1000;
  CHECK(text_of(snapshot).starts_with("Found a deadlock"));
  snapshot.threads.push_back(blocked(snapshot, 1, "t", snapshot.deadlocks[0].cycle[0].lock));
  CHECK(json::accept(render_json(snapshot, JsonStyle::Compact)));
}

TEST_CASE("a deadlock stands above everything else", "[format]") {
  Snapshot snapshot = deadlocked();
  CHECK(text_of(snapshot).starts_with(
      R"(Found a deadlock of 2 threads:
  Thread 20440 "checkout-1" waits in Inventory.reserve (shop/service.py:40)
    for threading.Lock 0x7f5f8c025110 "self.lock" of <Inventory at 0x7f5f8c4bdc50>,
    held by 20439 "stock-sync", which took it in Inventory.refresh (shop/service.py:36)
  Thread 20439 "stock-sync" waits in Inventory.refresh (shop/service.py:37)
    for threading.RLock 0x7f5f8c025110 "orders.LOCK",
    held by 20440 "checkout-1"

no Python threads)"));
  snapshot.deadlocks[0].cycle.pop_back();
  CHECK(text_of(snapshot).starts_with(
      R"(Found a deadlock of a thread with itself:
  Thread 20440 "checkout-1" waits in Inventory.reserve (shop/service.py:40)
    for threading.Lock 0x7f5f8c025110 "self.lock" of <Inventory at 0x7f5f8c4bdc50>,
    held by itself, which took it in Inventory.refresh (shop/service.py:36)
)"));
}

TEST_CASE("threads with the same stack are one group whichever lock they wait for", "[format]") {
  Snapshot snapshot = make_snapshot();
  snapshot.threads = {blocked(snapshot, 1, "a", make_lock(Held::ByThread, 9))};
  for (const pid_t tid : {2, 3}) {
    snapshot.threads.push_back(snapshot.threads[0]);
    snapshot.threads.back().tid = tid;
  }
  const auto contains = [&](std::string_view part) {
    return text_of(snapshot, Grouping::Always).find(part) != std::string::npos;
  };
  CHECK(
      contains("\n3 threads (blocked, waiting for threading.Lock 0x7f5f8c025110 \"self.lock\" of "
               "<Inventory at 0x7f5f8c4bdc50>, held by 9 \"stock-sync\")\n"));
  snapshot.threads[1].lock->address += 16;
  CHECK(contains("\n3 threads (blocked, waiting for threading.Lock \"self.lock\")\n"));
}

TEST_CASE("locks and deadlocks in JSON", "[format]") {
  Snapshot snapshot = deadlocked();
  LockWait lock = snapshot.deadlocks[0].cycle[0].lock;
  snapshot.threads = {blocked(snapshot, 20440, "checkout-1", lock)};
  const auto lock_of = [&] {
    return json::parse(render_json(snapshot, JsonStyle::Compact))["threads"][0]["lock"];
  };
  CHECK(lock_of() == json::parse(R"js({
    "type": "threading.Lock", "address": "0x7f5f8c025110", "name": "self.lock",
    "owner_object": "<Inventory at 0x7f5f8c4bdc50>", "kind": "lock", "held_by": 20439,
    "holder": "proven", "detail": null, "timeout": false,
    "taken_in": {"function": "refresh", "qualified_name": "Inventory.refresh",
                 "file": "/srv/shop/service.py", "line": 36}
  })js"));
  snapshot.threads[0].lock = LockWait{};
  snapshot.threads[0].lock->held = Held::NotALock;
  for (const auto* field : {"address", "name", "owner_object", "held_by", "holder", "taken_in"}) {
    CAPTURE(field);
    CHECK(lock_of().at(field).is_null());
  }
  CHECK(lock_of().at("kind") == "event");
  CHECK(json::parse(render_json(snapshot, JsonStyle::Compact))["deadlocks"] ==
        json::parse(R"js([{"cycle": [
          {"tid": 20440, "waits_for": {"type": "threading.Lock", "address": "0x7f5f8c025110"},
           "held_by": 20439},
          {"tid": 20439, "waits_for": {"type": "threading.RLock", "address": "0x7f5f8c025110"},
           "held_by": 20440}]}])js"));
}
