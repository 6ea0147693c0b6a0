#include <catch2/catch.hpp>

#include "process/user_names.hpp"

using namespace pyscope;

TEST_CASE("users are known by passwd, by name and by number", "[process]") {
  const UserNames users(
      "root:x:0:0:root:/root:/bin/bash\n"
      "toor:x:0:0::/root:/bin/sh\n"
      "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
      "# a comment\n"
      "broken:x:\n"
      "worse:x:12abc:1::/:\n"
      ":x:77:77::/:\n"
      "last:x:1000:1000:no line end:/home/last:/bin/sh");
  CHECK(users.name(0) == "root");
  CHECK(users.name(33) == "www-data");
  CHECK(users.name(1000) == "last");
  CHECK(users.name(77).empty());
  CHECK(users.name(12).empty());
  CHECK(users.uid("toor") == 0U);
  CHECK(users.uid("www-data") == 33U);
  CHECK(users.uid("4711") == 4711U);
  CHECK_FALSE(users.uid("nobody-here"));
  CHECK_FALSE(users.uid("-1"));
  CHECK_FALSE(users.uid(""));
}
