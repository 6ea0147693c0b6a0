// What is masked, and what only looks like it.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "values/secrets.hpp"

using namespace pyscope;

TEST_CASE("names of secrets are known in any case and as parts") {
  const SecretNames names({"PIN"});
  for (const auto* name :
       {"password", "DB_PASSWORD", "userPasswd", "Authorization", "x-api-key", "csrf_token",
        "SECRET_KEY", "Set-Cookie", "aws_access_key_id", "private_key", "pin_code"}) {
    CAPTURE(name);
    CHECK(names.matches(name));
  }
  for (const auto* name : {"name", "PWD", "OLDPWD", "path", "key", ""}) {
    CAPTURE(name);
    CHECK_FALSE(names.matches(name));
  }
  CHECK_FALSE(SecretNames().matches("pin_code"));
  CHECK(names.matches_number("password"));
  CHECK_FALSE(names.matches_number("max_tokens"));
}

TEST_CASE("the user part of a URL is masked wherever it stands") {
  const auto masked = [](std::string text, bool cut = false) {
    mask_url_users(text, cut);
    return text;
  };
  CHECK(masked("postgres://ann:p@ss@db/shop?a@b") == "postgres://***@db/shop?a@b");
  CHECK(masked("a https://u:p@h, b ftp://v@w/") == "a https://***@h, b ftp://***@w/");
  CHECK(masked("https://host/a@b") == "https://host/a@b");
  CHECK(masked("https://host:80") == "https://host:80");
  CHECK(masked("no url: ann@host") == "no url: ann@host");
  CHECK(masked("://@") == "://@");
  CHECK(masked("https://ann:hunt", true) == "https://***");
  CHECK(masked("https://ann:hunt") == "https://ann:hunt");
  std::u32string wide = U"redis://:pw€@h";
  CHECK(mask_url_users(wide));
  CHECK(wide == U"redis://***@h");
}

TEST_CASE("a command line is shown without what its names say is secret") {
  using Words = std::vector<std::string>;
  const SecretNames names;
  CHECK(mask_command(Words{"python3", "app.py", "--password=x", "--token", "y", "--token", "-v",
                           "API_KEY=z", "https://u:p@h/", "--port=80", "--secret"},
                     names) == Words{"python3", "app.py", "--password=***", "--token", "***",
                                     "--token", "-v", "API_KEY=***", "https://***@h/", "--port=80",
                                     "--secret"});
  CHECK(mask_command({}, names).empty());
}
