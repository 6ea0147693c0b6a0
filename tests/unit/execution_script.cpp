// The script that a process runs for us, and what may come back.
#include <catch2/catch.hpp>
#include <string>

#include "execution/script.hpp"

using namespace pyscope;

namespace {

constexpr const char* kBegun = "pyscope-begun\n";

Answer read(const std::string& file, Execution& into) {
  return read_answer(file, into);
}

Answer read(const std::string& file) {
  Execution execution;
  const Answer answer = read_answer(file, execution);
  CHECK(execution.ran == false);
  return answer;
}

}  // namespace

TEST_CASE("a script is ASCII, whatever the code is", "[execution]") {
  const SourceCode code{"print('\"\\ \u00e4\n\x01\xff')", "\u00e4.py", false};
  const std::string text = script_text(code, "/tmp/a\"b\\\n.py");
  for (const char c : text)
    REQUIRE((c == '\n' || (c >= ' ' && c <= '~')));
  const std::string call = text.substr(text.rfind("_pyscope("));
  CHECK(call ==
        "_pyscope(b\"/tmp/a\\x22b\\x5c\\x0a.py\", b\"\\xc3\\xa4.py\".decode(\"utf-8\", "
        "\"surrogateescape\"), b\"print('\\x22\\x5c \\xc3\\xa4\\x0a\\x01\\xff')\", False, "
        "16777216)\n");
}

TEST_CASE("an answer is read when all of it is there", "[execution]") {
  const std::string answer = std::string(kBegun) + "pyscope-answer 0 1 4 3 5 0 0 0\nout\nerr'abc'";
  for (std::size_t i = 0; i < answer.size(); ++i) {
    Execution execution;
    CHECK(read(answer.substr(0, i), execution) ==
          (i < std::string(kBegun).size() ? Answer::None : Answer::Begun));
    CHECK(execution.ran == false);
  }
  Execution execution;
  REQUIRE(read(answer, execution) == Answer::Complete);
  CHECK(execution.ran == true);
  CHECK(execution.truncated);
  CHECK(execution.out == "out\n");
  CHECK(execution.err == "err");
  CHECK(execution.repr == "'abc'");
  CHECK_FALSE(execution.exception);

  Execution raised;
  REQUIRE(read(std::string(kBegun) + "pyscope-answer 1 0 0 0 0 3 2 5\nKeynot\n\n\n\n", raised) ==
          Answer::Complete);
  REQUIRE(raised.exception);
  CHECK(raised.exception->type == "Key");
  CHECK(raised.exception->message == "no");
  CHECK(raised.exception->traceback == "t\n\n\n\n");
  CHECK_FALSE(raised.repr);
  CHECK(read(std::string(kBegun) + "pyscope-lost\n") == Answer::Lost);
}

TEST_CASE("an answer that makes no sense is none", "[execution]") {
  for (const char* rest :
       {"pyscope-answer\n", "pyscope-answer \n", "pyscope-answer 0 0 0 0 0 0 0\n",
        "pyscope-answer 0 0 -1 0 0 0 0 0\n", "pyscope-answer 0 0 99999999999999999999 0 0 0 0 0\n",
        "pyscope-answer 0 0 18446744073709551615 0 0 0 0 0\nx",
        "pyscope-answer 0 0 16777217 0 0 0 0 0\nx", "pyscope-answer 0 0 5 0 0 0 0 0\nx",
        "pyscope-answer a b c d e f g h\n", "something else\n"}) {
    CAPTURE(rest);
    CHECK(read(std::string(kBegun) + rest) == Answer::Begun);
  }
  CHECK(read("def _pyscope(path") == Answer::None);
  CHECK(read("") == Answer::None);
}
