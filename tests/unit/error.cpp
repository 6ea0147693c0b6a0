#include "pyscope/error.hpp"

#include <catch2/catch.hpp>

#include "pyscope/snapshot.hpp"

using namespace pyscope;

TEST_CASE("each kind of error has its code and its exit status", "[error]") {
  struct Row {
    ErrorKind kind;
    const char* code;
    int status;
  };
  for (const Row& row : {
           Row{ErrorKind::Failed, "failed", 1},
           Row{ErrorKind::Usage, "usage", 2},
           Row{ErrorKind::NoSuchProcess, "no_such_process", 3},
           Row{ErrorKind::NotPermitted, "not_permitted", 4},
           Row{ErrorKind::Unsupported, "unsupported", 5},
           Row{ErrorKind::Fault, "partial", 6},
           Row{ErrorKind::Malformed, "partial", 6},
       }) {
    CHECK(error_code(row.kind) == row.code);
    CHECK(exit_status(row.kind) == row.status);
  }
}

TEST_CASE("an error that is handed on keeps its kind and its hint", "[error]") {
  const tl::unexpected<Error> error =
      fail("frame 3", Error{ErrorKind::Fault, "8 bytes at 0x10 are not readable", "try again"});
  CHECK(error.value().kind == ErrorKind::Fault);
  CHECK(error.value().message == "frame 3: 8 bytes at 0x10 are not readable");
  CHECK(error.value().hint == "try again");
}

TEST_CASE("a snapshot that was read whole ends in 0 and any gap in 6", "[error]") {
  Snapshot snapshot;
  CHECK(exit_status(snapshot) == 0);
  Thread& thread = snapshot.threads.emplace_back();
  thread.consistent = true;
  thread.truncated = true;  // by request: nothing is wrong with that
  Frame& frame = thread.frames.emplace_back();
  CHECK(exit_status(snapshot) == 0);
  SECTION("a thread that could not be verified") {
    thread.consistent = false;
  }
  SECTION("a thread that could not be read") {
    thread.error = "unreadable";
  }
  SECTION("native frames that could not be read") {
    thread.native_error = "it ended";
  }
  SECTION("a frame that could not be read") {
    frame.error = "unreadable";
  }
  CHECK(exit_status(snapshot) == 6);
}
